"""One rendered prompt against the reference's: text, token ids, and the differences that we mean."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from arriero.prompts import Segment

Encode = Callable[[Sequence[Segment]], list[int]]

INJECTION = "deviates by design (injection-safe)"
"""The reference turns control tokens that are spelt out in content into real ones; we never do."""

FIRST_CONTROL_ID = 128000

_MARKER = re.compile(r"(<\|[a-z0-9_]+\|>)")


@dataclass(frozen=True)
class Outcome:
    """One line's result: ``problem`` if it fails, ``deviation`` if it passes by a difference that we mean."""

    problem: str | None = None
    deviation: str | None = None


def compare(row: dict[str, Any], segments: Sequence[Segment], encode: Encode | None) -> Outcome:
    """Our segments against a line's text, or its SHA-256 where the text is kept aside, and its ids."""
    text = "".join(segment.text for segment in segments)
    expected = row.get("expected_text", row.get("text"))
    if expected is None:
        if sha256(text.encode()).hexdigest() != row["sha256"]:
            return Outcome(f"text has another SHA-256; ours is {text!r}")
    elif text != expected:
        return Outcome(f"text differs {first_difference(text, expected)}")
    if encode is None or row.get("expected_token_ids") is None:
        return Outcome()
    return compare_ids(segments, row["expected_token_ids"], encode)


def compare_ids(segments: Sequence[Segment], expected: list[int], encode: Encode) -> Outcome:
    """Ids alike, or unlike in nothing but control tokens that the reference took from content."""
    ids = encode(segments)
    if ids == expected:
        return Outcome()
    controls = [token for token in ids if token >= FIRST_CONTROL_ID]
    if controls != encode([segment for segment in segments if segment.special]):
        return Outcome(f"content became a control token: {controls}")
    if encode(forge(segments)) == expected:
        return Outcome(deviation=INJECTION)
    return Outcome(f"ids differ {first_difference(ids, expected)}")


def forge(segments: Sequence[Segment]) -> list[Segment]:
    """The same prompt with each control token that content spells out made real, as string renderers do."""
    return [
        piece
        for segment in segments
        for piece in (
            [segment]
            if segment.special
            else [
                Segment(part, special=bool(_MARKER.fullmatch(part))) for part in _MARKER.split(segment.text)
            ]
        )
        if piece.text
    ]


def first_difference(got: Sequence[Any], expected: Sequence[Any]) -> str:
    """Where two sequences part, with a little of both."""
    at = next(
        (index for index, (a, b) in enumerate(zip(got, expected, strict=False)) if a != b),
        min(len(got), len(expected)),
    )
    return f"from {at} on: expected {expected[at : at + 24]!r}, got {got[at : at + 24]!r}"
