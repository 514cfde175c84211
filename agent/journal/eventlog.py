"""Events as the journal keeps them: lines of JSON, with text that came in pieces put together."""

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from arriero.agent.events import (
    Event,
    RunFinished,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolOutputDelta,
)

from .contents import utf8

Noted = tuple[float, Event]
"""A moment (seconds since 1970, by the wall clock) and what happened."""

_LARGE: Final = 2048  # bytes; smaller chunks are not worth packing


def packed_lines(events: Sequence[Noted]) -> bytes:
    """Consecutive events of one run in one piece."""
    data = "\n".join(_lines(events)).encode("utf-8", "replace")
    return zlib.compress(data, 1) if len(data) >= _LARGE else data


def unpacked_lines(data: bytes) -> Iterator[tuple[float, dict[str, Any]]]:
    """When and what, as ``packed_lines`` was given it; what other tables hold is missing."""
    text = data if data[:1].isdigit() else zlib.decompress(data)
    for line in text.decode().split("\n"):
        moment, _, event = line.partition(" ")
        yield float(moment), json.loads(event)


def _lines(events: Sequence[Noted]) -> Iterator[str]:
    index = 0
    while index < len(events):
        moment, event = events[index]
        index += 1
        key = _stream(event)
        if key is not None:
            pieces = [event.text]  # type: ignore[union-attr]
            while index < len(events) and _stream(events[index][1]) == key:
                pieces.append(events[index][1].text)  # type: ignore[union-attr]
                index += 1
            if len(pieces) > 1:
                event = event.model_copy(update={"text": "".join(pieces)})
        yield f"{moment:.3f} {_dump(event)}"


def _stream(event: Event) -> tuple[str, object, object] | None:
    """What a piece of text belongs to; None for events that are whole."""
    if isinstance(event, TextDelta):
        return event.type, None, None
    if isinstance(event, ToolCallDelta):
        return event.type, event.index, None
    if isinstance(event, ToolOutputDelta):
        return event.type, event.call_id, event.stream
    return None


def _dump(event: Event) -> str:
    left_out = {"run_id"}
    if isinstance(event, ToolCallFinished):
        left_out = {"run_id", "content", "artifacts"}
    elif isinstance(event, RunFinished):
        left_out = {"run_id", "new_messages"}
    try:
        return event.model_dump_json(exclude=left_out)
    except ValueError:
        plain = event.model_dump(exclude=left_out)
        return utf8(json.dumps(plain, ensure_ascii=False, default=str)).decode()
