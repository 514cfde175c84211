"""Where the arguments of a call come from: copied from a tool or a file, they may be somebody else's wish."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from unicodedata import category, normalize

from .base import ALLOW, ScreenInput, Verdict
from .policy import PROVENANCE, Policy
from .settings import made_from

COPIED: Final = "copied"
"""The category of every finding."""

MIN_CHARS: Final = 20  # characters without whitespace that are no coincidence
_MIN_VALUE: Final = (
    8  # characters of a whole argument with a digit, @ or / in it: numbers of accounts, addresses
)
_MOST_COMPARED: Final = 200_000  # comparisons for one argument; a text that needs more was made to need them
_SHOWN: Final = 80


class Provenance:
    """Finds arguments of calls with effect ``once`` that copy what a tool or a file said and no user did.

    A copy is a run of ``min_chars`` characters, or a whole argument of 8 or more with a digit, ``@`` or ``/`` in it;
    case and whitespace do not matter. Raises ValueError unless ``min_chars`` is 2 or more.
    """

    instant = True

    def __init__(self, min_chars: int = MIN_CHARS) -> None:
        if not isinstance(min_chars, int) or min_chars < 2:
            raise ValueError("min_chars must be a number of characters, 2 or more")
        self.min_chars = min_chars

    @property
    def name(self) -> str:
        return PROVENANCE

    async def check(self, given: ScreenInput) -> Verdict:
        """Ask where an argument is a copy; calls that may be repeated do no harm by it."""
        if given.effect != "once":
            return ALLOW
        leaves = [(path, _plain(text)) for path, text in _leaves(given.arguments)]
        leaves = [(path, text) for path, text in leaves if len(text) >= _MIN_VALUE]
        if not leaves:
            return ALLOW
        spans = given.spans
        trusted = [_plain(span.text) for span in spans if span.trusted]
        for span in spans:
            if span.trusted or span.origin == "model":
                continue
            for path, text in leaves:
                copy = self._copied(text, span.text, trusted)
                if copy is not None:
                    return _found(given, path, span.origin, copy)
        return ALLOW

    def _copied(self, value: str, source: str, trusted: list[str]) -> str | None:
        """A run of ``value`` that is in ``source`` and in nothing that is trusted; None if there is none."""
        index = _index(source, max(1, self.min_chars // 2))
        whole = any(letter in "@/" or letter.isdigit() for letter in value) and value in index.text
        if whole and not any(value in text for text in trusted):
            return value
        for run in index.runs(value, self.min_chars):
            if not any(run in text for text in trusted):
                return run
        return None


@dataclass(frozen=True, slots=True)
class _Index:
    """A text and where each of its blocks of ``size`` characters begins, one after the other: a run of twice that
    length holds a whole block, wherever it starts.
    """

    text: str
    size: int
    blocks: Mapping[str, list[int]]

    def runs(self, value: str, least: int) -> Iterator[str]:
        """Runs of at least ``least`` characters that ``value`` has in common with the text."""
        compared = 0
        done = 0
        for start in range(len(value) - self.size + 1):
            for position in self.blocks.get(value[start : start + self.size], ()):
                if start < done:
                    break
                first, last = self._extended(value, start, position)
                compared += 1 + (last - first) // self.size
                if compared > _MOST_COMPARED:
                    yield value
                    return
                if last - first >= least:
                    done = last
                    yield value[first:last]

    def _extended(self, value: str, start: int, position: int) -> tuple[int, int]:
        first, last = start, start + self.size
        behind = position + self.size
        while first > 0 and position > 0 and value[first - 1] == self.text[position - 1]:
            first, position = first - 1, position - 1
        while last < len(value) and behind < len(self.text) and value[last] == self.text[behind]:
            last, behind = last + 1, behind + 1
        return first, last


@lru_cache(maxsize=2048)
def _index(text: str, size: int) -> _Index:
    plain = _plain(text)
    blocks: dict[str, list[int]] = {}
    for position in range(0, len(plain) - size + 1, size):
        blocks.setdefault(plain[position : position + size], []).append(position)
    return _Index(plain, size, blocks)


@lru_cache(maxsize=2048)
def _plain(text: str) -> str:
    """The text as it is compared: without spaces, case, wide and styled letters, or characters that are not seen."""
    if not text.isascii():
        text = "".join(letter for letter in normalize("NFKC", text) if category(letter) != "Cf")
    return "".join(text.split()).casefold()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in the arguments with its place; keys are texts of the model's too."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            below = f"{path}.{key}" if path else str(key)
            yield below, str(key)
            yield from _leaves(one, below)
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _leaves(one, f"{path}[{number}]")
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path, str(value)


def _found(given: ScreenInput, path: str, origin: str, copy: str) -> Verdict:
    shown = copy if len(copy) <= _SHOWN else f"{copy[:_SHOWN]}…"
    reason = f"the argument {path[:_SHOWN]!r} of {given.tool} copies text that came from {origin}: {shown!r}"
    return Verdict("ask", categories=(COPIED,), reason=reason)


def from_settings(settings: Mapping[str, Any], policy: Policy) -> Provenance:
    """The screen for the table ``settings.provenance`` of a policy. Raises ScreenError for what it cannot take."""
    return made_from(Provenance, PROVENANCE, settings)
