"""The screen that needs no model: what can be told from the characters alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..base import ACTIONS, ALLOW, PLACES, Action, Place, ScreenInput, Verdict
from ..policy import PATTERNS, Policy
from ..settings import made_from
from .hidden_text import hidden_text
from .keys import keys, known_values, settled
from .links import ENDS_ADDRESS, links_with_data

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

_TOKEN: Final = re.compile(
    r"<\|(?:begin_of_text|end_of_text|start_header_id|end_header_id|eot_id|eom_id|python_tag|finetune_right_pad_id"
    r"|image|header_start|header_end|eot|eom|im_start|im_end|reserved_special_token_\d{1,3})\|>|<</?SYS>>|\[/?INST\]"
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
        found = self._find(text[:end] if hold else text, start, given)
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

    def _find(self, text: str, start: int, given: ScreenInput) -> dict[Kind, Places]:
        found: dict[Kind, Places] = {}
        if ("<" in text or "[" in text) and (
            tokens := [match.span() for match in _TOKEN.finditer(text, start)]
        ):
            found[CONTROL_TOKENS] = tokens
        if hidden := hidden_text(text, start):
            found[HIDDEN_TEXT] = hidden
        if secrets := keys(text, start, known=self._known):
            found[SECRET] = secrets
        if "//" in text and given.place in EXFILTRATION.actions:
            addresses = links_with_data(text, start, known=lambda address: _was_there(address, given))
            if addresses:
                found[EXFILTRATION] = addresses
        return found


def _was_there(address: str, given: ScreenInput) -> bool:
    return any(span.origin != "model" and address in span.text for span in given.spans)


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
