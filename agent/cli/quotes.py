"""Entries of several lines between three quotes."""

from typing import Final

_QUOTES: Final = '"""'


def is_quoted(entry: str) -> bool:
    """Whether an entry begins with three quotes: it is a question, whatever stands between them."""
    return entry.strip().startswith(_QUOTES)


def is_open(entry: str) -> bool:
    """Whether it has not come to the three others that end it: the end of a line does not."""
    text = entry.strip()
    return is_quoted(text) and (len(text) < 2 * len(_QUOTES) or not text.endswith(_QUOTES))


def unquoted(entry: str) -> str:
    """What stands between the quotes."""
    return entry.strip().removeprefix(_QUOTES).removesuffix(_QUOTES).strip("\n")
