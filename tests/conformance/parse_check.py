"""Checks lines of parse vectors: what a message of raw assistant text must be read as."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from arriero.prompts.parser import CallDone, CallParser, Malformed, TextDelta

MUST_PASS = ("unanimous", "meta_agrees", "other_peer_agrees", "recommended_only")
"""The statuses whose lines decide; ``ambiguous`` ones are counted only."""


def read(raw: str) -> dict[str, Any]:
    """The calls of a message and its text, in which malformed calls keep their place: peers return both as text."""
    parser = CallParser()
    events = [*parser.feed(raw), *parser.finish()]
    calls = [event for event in events if isinstance(event, CallDone)]
    text = [
        event.text if isinstance(event, TextDelta) else event.raw
        for event in events
        if isinstance(event, TextDelta | Malformed)
    ]
    return {
        "calls": [{"name": call.name, "arguments": call.arguments} for call in calls],
        "text": "".join(text),
    }


def check_parse(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int, list[str]]]:
    """Per status: lines passed, lines in all, and one line of text for each failure.

    A line without an expectation passes if it is read without an error.
    """
    passed: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    failures: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        status, expected = row["expected_status"], row["expected"]
        total[status] += 1
        found = read(row["raw"])
        if expected is None or all(found[key] == value for key, value in expected.items()):
            passed[status] += 1
        else:
            failures[status].append(f"{row['id']} {row['dim']}: expected {expected}, found {found}")
    return {status: (passed[status], total[status], failures[status]) for status in total}
