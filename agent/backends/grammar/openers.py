"""Where in a message a call opens, seen while it is written."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from arriero.prompts.parsing.context import place

FENCE = "```"
BRACKETS = frozenset(b"{[<(")
"""Bytes of which every call has one before it is plain that it is a call."""
LONG = frozenset(b"{[<")
"""Those with which a call begins that is recognised only some tokens later."""
REACH = 300
"""Characters from the beginning of a call within which it is plain that it is one."""

_LEAD = re.compile(r"[\s*]*+(?P<fence>```[\w+\-.]*+\s*+)?")
_SPACE = re.compile(r"\s*+")


@dataclass(frozen=True, slots=True)
class Opening:
    """A call that opens: ``start`` is its place in the text, ``fenced`` says that a fence was opened before it."""

    start: int
    fenced: bool = False


class Openers:
    """Recognises the calls of some tools by how they begin, at the places where the parser looks for them."""

    def __init__(self, names: Iterable[str]) -> None:
        known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or r"(?!)"
        key = r"""\{\s*(?:["'](?:name|function)["']|["']type["']\s*:\s*["']function["'])"""
        self._leading = re.compile(
            rf"{key}|\[\s*{key}|\[+\s*[\w.\-]+\s*\(|<function=|(?:{known})(?:\.call)?\s*\("
        )
        self._tagged = re.compile(
            rf"{key}|\[\s*{key}|\[+\s*(?:{known})\s*\(|<function=|(?:{known})(?:\.call)?\s*\("
        )
        named = rf"""\{{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"(?:{known})\""""
        self._inner = re.compile(
            rf"{named}|\[\s*{named}|\[\s*(?:{known})\s*\(|<function=(?:{known})>|(?:{known})\.call\s*\("
        )

    def leading(self, text: str, seen: int) -> Opening | None:
        """The call that opens at the start of a message, if more than ``seen`` characters are needed to see it."""
        lead = _LEAD.match(text)
        start = lead.end() if lead else 0
        return self._at(self._leading, text, start, seen, fenced=bool(lead and lead.group("fence")))

    def tagged(self, text: str, seen: int) -> Opening | None:
        """The same for the text behind ``<|python_tag|>``, which may be code."""
        lead = _SPACE.match(text)
        return self._at(self._tagged, text, lead.end() if lead else 0, seen)

    def inner(self, text: str, seen: int, *, fences: int = 0) -> Opening | None:
        """The call that opens behind other text; ``fences`` are those before this part of the message."""
        for match in self._inner.finditer(text, max(0, seen - REACH)):
            before = text[: match.start()]
            if match.end() <= seen or (before and not before[-1].isspace()):
                continue
            if (fences + before.count(FENCE)) % 2 == 0 and place(before) is not None:
                return Opening(match.start())
        return None

    @staticmethod
    def _at(
        pattern: re.Pattern[str], text: str, start: int, seen: int, *, fenced: bool = False
    ) -> Opening | None:
        match = pattern.match(text, start)
        return Opening(start, fenced) if match and match.end() > seen else None
