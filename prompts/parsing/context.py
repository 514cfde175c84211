"""Where in a message a call may stand: what the text before it says about it."""

import re
from enum import Enum


class Place(Enum):
    """What comes before a possible call, from the strongest sign that it is meant to the weakest."""

    TAGGED = "behind <|python_tag|>"
    START = "at the start of the message"
    SENTENCE = "behind a finished sentence or on a line of its own"
    COLON = "behind a colon"


_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|ex|etc|vs|cf|no|fig)|\d)\.$", re.IGNORECASE)
_HYPOTHETICAL = re.compile(
    r"\b(?:examples?|instance|would|could|should|can|might|may|formats?|formatted|syntax|like|as|us(?:e|es|ed|ing)"
    r"|writ(?:e|es|ing|ten)|typ(?:e|es|ing)|how|follow(?:s|ing)|to (?:call|use|run|search|invoke)"
    r"|(?<!for )(?<!here )you|your|don't|do not|never|not)\b|^\s*to\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?\n]")
TAIL = 240
"""Characters of preceding text that ``place`` looks at."""


def place(before: str) -> Place | None:
    """The place that a possible call has behind this text; None in the middle of a sentence or of a quotation.

    Behind a colon a call is as likely shown as made: it counts as a place only where the sentence does not speak
    of examples, forms or what the reader could do.
    """
    line = before.rstrip(" \t")
    if not line:
        return Place.SENTENCE
    if line.endswith("\n"):
        indent = before[len(line) :]
        if len(indent) >= 4 or "\t" in indent:
            return None
        line = line.rstrip()
        if not line.endswith((":", "：")):
            return Place.SENTENCE
    elif line == before:
        return None
    if line.endswith((":", "：")):
        sentence = _SENTENCE.split(line)[-1]
        return None if _HYPOTHETICAL.search(sentence) else Place.COLON
    if line.endswith((".", "!", "?", "…", "。", "！", "？")) and not _ABBREVIATION.search(line[-8:]):
        return Place.SENTENCE
    return None
