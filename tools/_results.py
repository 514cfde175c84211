"""Writes what a function returned as the result of a call."""

import json
import mimetypes
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from .base import Artifact, ToolResult

_FILE_LIMIT = 64 * 1024 * 1024
# First bytes of formats that functions often return, from the formats' specifications.
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png", "image/png"),
    (b"\xff\xd8\xff", "jpg", "image/jpeg"),
    (b"GIF8", "gif", "image/gif"),
    (b"%PDF-", "pdf", "application/pdf"),
)


def as_result(value: Any, *, name: str) -> ToolResult:
    """Write what the function ``name`` returned as a tool result.

    A str is taken as it is, with half surrogate pairs as U+FFFD. Bytes, an Artifact, a Path (the file that it
    leads to, at most 64 MiB) and an object with a ``_repr_png_`` (IPython's protocol: Pillow's images have it)
    become artifacts that the text names; a list or tuple with one of these is written part by part. Everything else
    becomes JSON with non-ASCII characters kept (as in llama-agentic-system's client for custom tools). Raises
    TypeError for what has no form as JSON, OSError for a file that cannot be read, ValueError for one that is
    too large.
    """
    match value:
        case ToolResult():
            return value
        case str():
            return ToolResult(whole_text(value))
        case bytes() | bytearray():
            return as_result(_of_bytes(bytes(value), name), name=name)
        case Artifact():
            return ToolResult(f"[{value.name}: {value.mime}, {len(value.data)} bytes]", (value,))
        case Path():
            return as_result(_of_file(value), name=name)
        case Iterator() | AsyncIterator():
            # It may never end, and reading it here would hold up everything else.
            raise TypeError(f"{name} returned a {type(value).__name__}; return a list of what it yields")
        case object(_repr_png_=draw) if not isinstance(value, type):
            return as_result(_drawn(draw, name), name=name)
        case list() | tuple() if any(map(_is_part, value)):
            parts = [as_result(part, name=name) for part in value]
            return ToolResult(
                "\n".join(part.content for part in parts), tuple(a for part in parts for a in part.artifacts)
            )
    try:
        return ToolResult(
            whole_text(json.dumps(to_jsonable_python(value, fallback=_plain), ensure_ascii=False))
        )
    except (PydanticSerializationError, TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"what {name} returned cannot be written as JSON: {error}") from None


def known_format(data: bytes) -> tuple[str, str] | None:
    """Suffix and media type that the first bytes tell; None for formats that are not known."""
    return next(((suffix, mime) for start, suffix, mime in _MAGIC if data.startswith(start)), None)


def _of_bytes(data: bytes, name: str) -> Artifact:
    suffix, mime = known_format(data) or ("bin", "application/octet-stream")
    return Artifact(f"{name}.{suffix}", mime, data)


def _of_file(path: Path) -> Artifact:
    if path.exists() and not path.is_file():
        # A device or a pipe may have no end, and to open one can already block.
        raise ValueError(f"{path.name} is not a plain file")
    with path.open("rb") as file:
        data = file.read(_FILE_LIMIT + 1)
    if len(data) > _FILE_LIMIT:
        raise ValueError(f"the file {path.name} is larger than {_FILE_LIMIT // 2**20} MiB")
    return Artifact(path.name, mimetypes.guess_type(path.name)[0] or "application/octet-stream", data)


def _is_part(value: Any) -> bool:
    return isinstance(value, Artifact | bytes | bytearray | Path | ToolResult) or hasattr(value, "_repr_png_")


def _drawn(draw: Any, name: str) -> Artifact:
    data = draw()
    if not isinstance(data, bytes):
        raise TypeError(f"what {name} returned cannot be written as PNG")
    return Artifact(f"{name}.png", "image/png", data)


def whole_text(text: str) -> str:
    """The text with half surrogate pairs, which no UTF-8 text can hold, as U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays know their plain form."""
    tolist = getattr(value, "tolist", None)
    if tolist is None:
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return tolist()
