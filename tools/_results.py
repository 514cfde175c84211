"""Writes what a function returned as the result of a call."""

import json
import mimetypes
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

    A str is taken as it is. Bytes, an Artifact and a Path (the file that it leads to, at most 64 MiB) become
    artifacts that the text names; a list or tuple with one of these is written part by part. Everything else
    becomes JSON with non-ASCII characters kept (as in llama-agentic-system's client for custom tools). Raises
    TypeError for what has no form as JSON, OSError for a file that cannot be read, ValueError for one that is
    too large.
    """
    match value:
        case ToolResult():
            return value
        case str():
            return ToolResult(value)
        case bytes() | bytearray():
            return as_result(_of_bytes(bytes(value), name), name=name)
        case Artifact():
            return ToolResult(f"[{value.name}: {value.mime}, {len(value.data)} bytes]", (value,))
        case Path():
            return as_result(_of_file(value), name=name)
        case list() | tuple() if any(isinstance(part, Artifact | bytes | Path) for part in value):
            parts = [as_result(part, name=name) for part in value]
            return ToolResult(
                "\n".join(part.content for part in parts), tuple(a for part in parts for a in part.artifacts)
            )
    try:
        return ToolResult(json.dumps(to_jsonable_python(value, fallback=_plain), ensure_ascii=False))
    except (PydanticSerializationError, TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"what {name} returned cannot be written as JSON: {error}") from None


def known_format(data: bytes) -> tuple[str, str] | None:
    """Suffix and media type that the first bytes tell; None for formats that are not known."""
    return next(((suffix, mime) for start, suffix, mime in _MAGIC if data.startswith(start)), None)


def _of_bytes(data: bytes, name: str) -> Artifact:
    suffix, mime = known_format(data) or ("bin", "application/octet-stream")
    return Artifact(f"{name}.{suffix}", mime, data)


def _of_file(path: Path) -> Artifact:
    if path.stat().st_size > _FILE_LIMIT:
        raise ValueError(f"the file {path.name} is larger than {_FILE_LIMIT // 2**20} MiB")
    mime = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Artifact(path.name, mime, path.read_bytes())


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays know their plain form."""
    tolist = getattr(value, "tolist", None)
    if tolist is None:
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return tolist()
