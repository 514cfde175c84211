"""The screen that needs no model: what can be told from the characters alone."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ..base import ACTIONS, ALLOW, PLACES, Action, Place, ScreenInput, Verdict
from ..policy import PATTERNS, Policy
from ..settings import made_from
from .hidden_text import hidden_text
from .keys import keys, known_values, settled
from .links import ENDS_ADDRESS, LOOK_BACK, links_with_data

MAX_CHARS: Final[Mapping[Place, int]] = {
    "input": 10_000_000,
    "tool_call": 200_000,
    "code": 200_000,
    "tool_result": 1_000_000,
    "output": 1_000_000,
}
"""Characters beyond which a text is oversized, unless the setting ``max_chars`` says otherwise.

For what the user wrote the bound is beyond any context, so that a long question is told how long it may be.
"""

# Also with brackets and bars that only look like those.
_TOKEN: Final = re.compile(
    r"[<\uff1c\u2039\u27e8\u3008\u02c2]\s?[|\uff5c\u00a6\u2223\u2502\u01c0\u2758]\s?\w{2,40}"
    r"\s?[|\uff5c\u00a6\u2223\u2502\u01c0\u2758]\s?[>\uff1e\u203a\u27e9\u3009\u02c3]|<</?SYS>>|\[/?INST\]"
)


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """Something to look for: its category, what follows at which place (elsewhere it is noted), and what is put in
    its place.
    """

    category: str
    words: str
    actions: Mapping[Place, Action]
    instead: str = ""


CONTROL_TOKENS: Final = Kind("control_tokens", "text that looks like a control token", {})
HIDDEN_TEXT: Final = Kind(
    "hidden_text",
    "characters that cannot be seen or that reorder what is seen",
    {"input": "replace", "tool_result": "replace", "output": "replace", "tool_call": "ask", "code": "ask"},
)
SECRET: Final = Kind(
    "secret",
    "something that has the form of a key or a password",
    {"tool_call": "ask", "output": "replace"},
    "[secret removed]",
)
EXFILTRATION: Final = Kind(
    "exfiltration",
    "an address that carries data away",
    {"tool_call": "ask", "output": "replace"},
    "[address with data removed]",
)
OVERSIZED: Final = "oversized"

Places = list[tuple[int, int]]

_LOOK_BACK: Final = (
    512  # characters before new text that may say what it is: a name, the beginning of an image
)


class PatternScreen:
    """Looks for hidden text, keys, addresses that carry data, control-token look-alikes, and too much of anything.

    It does not guess: every finding is a string of a known form. ``max_chars`` bounds a text by place. Secrets in
    this process's environment are looked for by their values. Raises ValueError for bounds that are none.
    """

    instant = True

    def __init__(self, max_chars: Mapping[Place, int] | None = None) -> None:
        self._max_chars = {**MAX_CHARS, **_bounds(max_chars or {})}
        self._known = known_values()

    @property
    def name(self) -> str:
        return PATTERNS

    async def check(self, given: ScreenInput) -> Verdict:
        """What is found behind ``given.passed``, and the text without it where the place asks for that."""
        # An answer is read word by word: only what is new, and a little before it, is looked at.
        base = max(0, given.passed - _LOOK_BACK)
        text = given.text[base:] if base else given.text
        start = given.passed - base
        end = len(text) if given.final else _settled(text, start)
        hold = len(text) - end
        before = given.text[max(0, base - LOOK_BACK) : base] if base else ""
        found = self._find(text[:end] if hold else text, start, before, given)
        if given.place == "tool_call" and "\\" in text:
            # JSON escapes quotes and ends of lines, which hides the values of secrets and what an address stands in.
            for kind, spans in self._find("\n".join(_lines(given.arguments)), 0, "", given).items():
                found[kind] = max(spans, found.get(kind, []), key=len)
        limit = self._max_chars[given.place]
        if len(given.text) > limit:
            reason = f"the text has {len(given.text)} characters, and {limit} are allowed here"
            return Verdict("block", categories=(*(kind.category for kind in found), OVERSIZED), reason=reason)
        if not found:
            return Verdict(hold=hold) if hold else ALLOW
        action = max((kind.actions.get(given.place, "allow") for kind in found), key=ACTIONS.index)
        return Verdict(
            action,
            categories=tuple(kind.category for kind in found),
            reason="found " + "; ".join(f"{kind.words} ({len(spans)})" for kind, spans in found.items()),
            replacement=_cleaned(text, start, given.place, found) if action == "replace" else None,
            hold=hold,
        )

    def _find(self, text: str, start: int, before: str, given: ScreenInput) -> dict[Kind, Places]:
        found: dict[Kind, Places] = {}
        hidden = hidden_text(text, start)
        # What is hidden in a key or an address keeps nobody from reading it once that is gone.
        read = _Reading(text, hidden) if hidden else None
        seen = read.text if read else text
        if ("<" in seen or "[" in seen or not seen.isascii()) and (
            tokens := [match.span() for match in _TOKEN.finditer(seen, start)]
        ):
            found[CONTROL_TOKENS] = tokens
        if hidden:
            found[HIDDEN_TEXT] = hidden
        if secrets := keys(seen, start, known=self._known):
            found[SECRET] = read.places(secrets) if read else secrets
        if ("/" in seen or "\\" in seen) and given.place in EXFILTRATION.actions:
            known = partial(_was_there, given=given)
            if links := links_with_data(seen, start, before=before, known=known):
                found[EXFILTRATION] = read.places(links) if read else links
        return found


class _Reading:
    """A text without what is hidden in it, and where its characters stand in the text as it is."""

    def __init__(self, text: str, hidden: Places) -> None:
        pieces, end, removed = [], 0, 0
        self._cuts: list[int] = []
        self._removed = [0]
        for first, last in hidden:
            if last > end:
                pieces.append(text[end:first])
                self._cuts.append(max(first, end) - removed)
                removed += last - max(first, end)
                self._removed.append(removed)
                end = last
        self.text = "".join([*pieces, text[end:]]) if pieces else text

    def places(self, found: Places) -> Places:
        """Places in the text as it is."""
        return [(self._back(first), self._back(last - 1) + 1) for first, last in found]

    def _back(self, at: int) -> int:
        return at + self._removed[bisect_right(self._cuts, at)]


def _was_there(address: str, *, given: ScreenInput) -> bool:
    return any(span.origin != "model" and address in span.text for span in given.spans)


def _lines(value: Any, name: str = "") -> Iterator[str]:
    """Arguments of a call as they are, one in a line, with the name that it has."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _lines(one, str(key))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _lines(one, name)
    else:
        yield f"{name}: {value}" if name else str(value)


def _bounds(given: object) -> Mapping[Place, int]:
    if not isinstance(given, Mapping) or not all(
        place in PLACES and isinstance(number, int) and number > 0 for place, number in given.items()
    ):
        raise ValueError("max_chars takes numbers of characters by place, such as input = 5000")
    return given


def from_settings(settings: Mapping[str, Any], policy: Policy) -> PatternScreen:
    """The screen for the table ``settings.patterns`` of a policy. Raises ScreenError for what it cannot take."""
    return made_from(PatternScreen, PATTERNS, settings)


def _settled(text: str, start: int) -> int:
    """Where the unfinished end begins: a private key, or the last word, which may become a key or an address."""
    end = begun = len(text)
    while begun > start and not (text[begun - 1].isspace() or text[begun - 1] in ENDS_ADDRESS):
        begun -= 1
    # Scripts without spaces: a key has none of their letters, only an address may.
    while end > begun and not (text[end - 1] > "\u02ff" and text[end - 1].isalnum()):
        end -= 1
    return settled(text, start, begun if "//" in text[begun:end] else end)


def _cleaned(text: str, start: int, place: Place, found: Mapping[Kind, Places]) -> str:
    """The text from ``start`` on without what the place has replaced; where findings overlap, the first counts."""
    cuts = sorted(
        (first, last, kind.instead)
        for kind, spans in found.items()
        if kind.actions.get(place) == "replace"
        for first, last in spans
    )
    pieces: list[str] = []
    position = start
    for first, last, instead in cuts:
        if first >= position:
            pieces += [text[position:first], instead]
        position = max(position, last)
    return "".join([*pieces, text[position:]])
