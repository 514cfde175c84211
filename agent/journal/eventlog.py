"""Events as the journal keeps them: JSON, with text that came in pieces put together."""

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic_core import to_json, to_jsonable_python

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
_ELSEWHERE: Final[dict[type, tuple[str, ...]]] = {
    ToolCallFinished: ("content", "artifacts"),
    RunFinished: ("new_messages",),
}
"""Fields of events that other tables hold."""

_PIECES: Final[dict[type, tuple[str, ...]]] = {
    TextDelta: (),
    ToolCallDelta: ("index",),
    ToolOutputDelta: ("call_id", "stream"),
}
"""Events that are pieces of a text, and the fields that say of which."""


def packed_events(events: Iterable[Noted]) -> bytes:
    """Consecutive events of one run in one piece."""
    whole: list[tuple[float, dict[str, Any]]] = []
    text_of: tuple[Any, ...] | None = None
    texts: list[tuple[dict[str, Any], list[str]]] = []
    for moment, event in events:
        fields, kind = event.__dict__.copy(), type(event)
        if kind in _PIECES:
            before, text_of = text_of, (kind, *map(fields.get, _PIECES[kind]))
            if text_of == before:
                texts[-1][1].append(fields["text"])
                continue
            texts.append((fields, [fields["text"]]))
        else:
            text_of = None
            for name in _ELSEWHERE.get(kind, ()):
                del fields[name]
        del fields["run_id"]
        whole.append((moment, fields))
    for fields, pieces in texts:
        fields["text"] = "".join(pieces)
    try:
        data = to_json(whole, inf_nan_mode="null")
    except ValueError:  # half of a surrogate pair has no UTF-8
        data = utf8(json.dumps(to_jsonable_python(whole, fallback=str), ensure_ascii=False))
    return zlib.compress(data, 1) if len(data) >= _LARGE else data


def unpacked_events(data: bytes) -> Iterator[tuple[float, dict[str, Any]]]:
    """When and what, as ``packed_events`` was given it; what other tables hold is missing."""
    for moment, event in json.loads(data if data[:1] == b"[" else zlib.decompress(data)):
        yield float(moment), event
