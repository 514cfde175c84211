"""Characters that are not seen, or that make a reader see another order than the one that is there."""

import re
from typing import Final

_INVISIBLE: Final = "\u200b\u2060-\u2064\ufeff\u180e\u3164\uffa0\u115f\u1160"
_JOINERS: Final = "\u200c\u200d"
_SELECTORS: Final = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
# Marks of direction, and what only editors and programs use; they stand beside words, but not inside of them.
_MARKS: Final = "\u034f\u061c\u17b4\u17b5\u200e\u200f\u206a-\u206f\ufff9-\ufffb\U0001d173-\U0001d17a"
_TAGS: Final = {ord(letter): 0xE0000 + ord(letter) for letter in "abcdefghijklmnopqrstuvwxyz"}
_REGIONS: Final = "|".join(region.translate(_TAGS) for region in ("gbeng", "gbsct", "gbwls"))

# Emoji, Indic scripts, Persian and Thai need joiners, selectors and zero-width spaces, one at a time and not between
# ASCII characters; Hebrew and Arabic need isolates and embeddings, nobody needs overrides. Three flags are written
# with tags behind a black flag (https://www.unicode.org/reports/tr51/#valid-emoji-tag-sequences).
_HIDDEN: Final = re.compile(
    rf"(?P<flag>\U0001f3f4(?:{_REGIONS})\U000e007f)"
    rf"|[\U000e0000-\U000e007f]+"
    rf"|[\u202d\u202e]"
    rf"|[{_INVISIBLE}{_JOINERS}{_MARKS}]{{3,}}"
    rf"|[{_SELECTORS}]{{2,}}|(?<=[A-Za-z])[{_SELECTORS}]|(?<=[0-9])[{_SELECTORS}](?=[A-Za-z0-9])"
    rf"|(?<=[!-~])[{_INVISIBLE}{_JOINERS}]+(?=[!-~])"
    rf"|(?<=[A-Za-z0-9])[{_MARKS}]+(?=[A-Za-z0-9])"
)
_DIRECTION: Final = re.compile(r"[\u202a-\u202c\u2066-\u2069]")
_RIGHT_TO_LEFT: Final = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff]")


def hidden_text(text: str, start: int = 0) -> list[tuple[int, int]]:
    """Where characters hide something, from ``start`` on; what emoji and scripts need is left alone."""
    if text.isascii():
        return []
    found = [match.span() for match in _HIDDEN.finditer(text, start) if match["flag"] is None]
    if _DIRECTION.search(text, start) and not _RIGHT_TO_LEFT.search(text):
        found += [match.span() for match in _DIRECTION.finditer(text, start)]
    return sorted(found)


def without_hidden_text(text: str) -> str:
    """The text without the characters that hide something."""
    kept, position = [], 0
    for start, end in hidden_text(text):
        kept.append(text[position:start])
        position = max(position, end)
    return "".join([*kept, text[position:]])
