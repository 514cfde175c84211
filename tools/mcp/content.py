"""Writes what an MCP server answered as the result of a call."""

import base64
import binascii
import json
import mimetypes
from typing import TYPE_CHECKING, Any

from arriero.tools.base import Artifact, ToolResult

if TYPE_CHECKING:
    from mcp.types import CallToolResult


def as_result(answer: "CallToolResult", name: str) -> ToolResult:
    """Text as it is, images, audio and files as artifacts that the text names, links as their address.

    Structured content is written as JSON where there is no text (servers repeat it as text). The server's
    ``isError`` makes it an error.
    """
    texts: list[str] = []
    artifacts: list[Artifact] = []
    for block in answer.content:
        part = _part(block, f"{name}-{len(artifacts) + 1}")
        if isinstance(part, Artifact):
            artifacts.append(part)
            texts.append(f"[{part.name}: {part.mime}, {len(part.data)} bytes]")
        else:
            texts.append(part)
    if answer.structured_content is not None and not any(block.type == "text" for block in answer.content):
        texts.insert(0, json.dumps(answer.structured_content, ensure_ascii=False))
    text = "\n".join(texts)
    if answer.is_error:
        text = f"Error when running tool: {text or 'the server gave no reason'}"
    return ToolResult(text, tuple(artifacts), error=answer.is_error)


def _part(block: Any, name: str) -> str | Artifact:
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            return _decoded(block.data, name, block.mime_type)
        case "resource":
            resource = block.resource
            if hasattr(resource, "text"):
                return str(resource.text)
            last = str(resource.uri).rstrip("/").rpartition("/")[2]
            return _decoded(resource.blob, last or name, resource.mime_type, named=bool(last))
        case "resource_link":
            return f"[{block.title or block.name}: {block.uri}]"
    return f"[{block.type}]"


def _decoded(data: str, name: str, mime: str | None, *, named: bool = False) -> str | Artifact:
    mime = mime or "application/octet-stream"
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return f"[{name}: {mime}, but the data cannot be read]"
    suffix = "" if named else mimetypes.guess_extension(mime) or ".bin"
    return Artifact(f"{name}{suffix}", mime, decoded)
