"""What a run was made with: weights, wire form, versions."""

import json
import os
import platform
import sys
import weakref
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from arriero.agent.backends import Model
from arriero.agent.conversation import Conversation
from arriero.prompts import Message, ToolCall, ToolSpec
from arriero.prompts.dialects import Dialect

from .contents import utf8

_SAMPLES: Final = 64
_SAMPLE: Final = 1 << 16  # bytes
_HEAD: Final = 4 << 20  # bytes

_KNOWN: "weakref.WeakKeyDictionary[Any, str | None]" = weakref.WeakKeyDictionary()


def weights_of(model: Model) -> str | None:
    """A fingerprint of a model's weights; None where it has no file, so that tokens mean nothing elsewhere.

    It is the model's own ``fingerprint`` if it has that, else SHA-256 over the size of its GGUF file, the
    first 4 MiB and 64 places of 64 KiB spread evenly: enough to tell files apart within a tenth of a second,
    not to find a single changed byte.
    """
    own = getattr(model, "fingerprint", None)
    if own is not None:
        return str(own)
    try:
        if model not in _KNOWN:
            info = getattr(model, "info", None)
            path = getattr(info, "path", None)
            _KNOWN[model] = None if path is None else fingerprint(Path(path))
        return _KNOWN[model]
    except (OSError, TypeError):
        return None


def fingerprint(path: Path) -> str:
    """The fingerprint of a file; see ``weights_of``. Raises OSError."""
    size = path.stat().st_size
    digest = sha256(f"{size}:".encode())
    with path.open("rb") as file:
        digest.update(file.read(_HEAD))
        for number in range(_SAMPLES if size > _HEAD else 0):
            file.seek(_HEAD + (size - _HEAD) * number // _SAMPLES, os.SEEK_SET)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def setup_of(conversation: Conversation) -> bytes:
    """What was said before the first message, as JSON: wire form, instructions, tools, date."""
    return utf8(
        json.dumps(
            {
                "dialect": conversation.dialect.name,
                "instructions": conversation.instructions,
                "tools": [spec.model_dump() for spec in conversation.tools],
                "date": None if conversation.date is None else str(conversation.date),
            },
            ensure_ascii=False,
            default=str,
        )
    )


@cache
def template_hash(dialect: Dialect) -> str:
    """SHA-256 of what a wire form makes of one conversation that has everything in it.

    It changes whenever anything about the rendering does, in a template or in code.
    """
    spec = ToolSpec(
        name="f", description="d", parameters={"type": "object", "properties": {"x": {"type": "integer"}}}
    )
    call = ToolCall(id="c", name="f", arguments={"x": 1})
    told = Message(role="ipython", content="1", tool_call_id="c", name="f")
    messages = [
        Message(role="system", content="s"),
        Message(role="user", content="u"),
        Message(role="assistant", tool_calls=(call,), end="eom"),
        told,
    ]
    segments = dialect.render(messages, tools=[spec], builtin_tools=["code_interpreter"], date="1 May 2024")
    return sha256(repr([(one.text, one.special) for one in segments]).encode()).hexdigest()


@cache
def versions() -> str:
    """Versions of what makes a run, as JSON."""
    found = {"python": platform.python_version(), "system": sys.platform}
    for package in ("arriero", "llama-cpp-python"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return json.dumps(found)
