"""Events as the journal keeps them: JSON, with text that came in pieces put together."""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pydantic_core import to_json, to_jsonable_python

from arriero.agent.events import Event, TextDelta, ToolCallDelta, ToolOutputDelta

from .contents import utf8

Noted = tuple[float, Event]
"""A moment (seconds since 1970, by the wall clock) and what happened."""

_LARGE: Final = 2048  # bytes; smaller chunks are not worth packing
_ELSEWHERE: Final = ("run_id", "content", "artifacts", "new_messages")
"""Fields of events that other columns and tables hold."""

_PIECES: Final[dict[type, tuple[str, ...]]] = {
    TextDelta: (),
    ToolCallDelta: ("index",),
    ToolOutputDelta: ("call_id", "stream"),
}
"""Events that are pieces of a text, and the fields that say of which."""


def packed_events(events: Sequence[Noted]) -> bytes:
    """Consecutive events of one run in one piece."""
    whole = [(moment, _kept(event)) for moment, event in _joined(events)]
    try:
        data = to_json(whole, inf_nan_mode="null")
    except ValueError:  # half of a surrogate pair has no UTF-8
        data = utf8(json.dumps(to_jsonable_python(whole, fallback=str), ensure_ascii=False))
    return zlib.compress(data, 1) if len(data) >= _LARGE else data


def _kept(event: Event) -> dict[str, Any]:
    """The fields of an event, without those that are kept elsewhere."""
    fields = event.__dict__.copy()
    for name in _ELSEWHERE:
        fields.pop(name, None)
    return fields


def unpacked_events(data: bytes) -> Iterator[tuple[float, dict[str, Any]]]:
    """When and what, as ``packed_events`` was given it; what other tables hold is missing."""
    for moment, event in json.loads(data if data[:1] == b"[" else zlib.decompress(data)):
        yield float(moment), event


def _joined(events: Iterable[Noted]) -> Iterator[Noted]:
    """The events, with pieces of one text that follow each other as one of them."""
    pieces: list[str] = []
    first: Noted | None = None
    for noted in events:
        if first is not None:
            if type(noted[1]) is type(first[1]) and _whole(noted[1]) == _whole(first[1]):
                pieces.append(noted[1].text)  # type: ignore[union-attr]
                continue
            yield _with_text(first, pieces)
            first = None
        if type(noted[1]) in _PIECES:
            first, pieces = noted, [noted[1].text]  # type: ignore[union-attr]
        else:
            yield noted
    if first is not None:
        yield _with_text(first, pieces)


def _whole(piece: Event) -> list[Any]:
    return [getattr(piece, name) for name in _PIECES[type(piece)]]


def _with_text(noted: Noted, pieces: list[str]) -> Noted:
    moment, event = noted
    return noted if len(pieces) == 1 else (moment, event.model_copy(update={"text": "".join(pieces)}))
