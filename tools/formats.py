"""Tool results as text, in the exact forms of Meta's reference tools; pure and without I/O.

The code interpreter's form is that of llama-agentic-system and llama-stack (``CodeInterpreterTool``);
:func:`tool_response` is llama-stack's ``ToolResponseGenerator``, which writes the prompt-format pages.
"""

import re
from typing import Literal

ExecutionStatus = Literal["completed", "timeout", "error"]

TIMED_OUT = "Timed out"
"""What both streams read after a time-out."""

_FRAME = re.compile(r'File "[^"\n]*", line (\d+)')


def code_output(status: ExecutionStatus, stdout: str = "", stderr: str = "") -> str:
    """Join the result of running code: the status, then each stream that is not empty.

    The markers stand on lines of their own and the streams are written as they are given.
    ``status`` is ``completed`` even when the code raised.
    """
    pieces: list[str] = [status]
    for name, text in (("stdout", stdout), ("stderr", stderr)):
        if text:
            pieces += [f"[{name}]", text, f"[/{name}]"]
    return "\n".join(pieces)


def execution_output(status: ExecutionStatus, stdout: str = "", stderr: str = "") -> str:
    """Tidy two captured streams as the reference's executor does, then write :func:`code_output`.

    Both are stripped, ``File "…", line N`` in stderr becomes ``line N``; after a time-out both
    read ``Timed out``.
    """
    if status == "timeout":
        return code_output(status, TIMED_OUT, TIMED_OUT)
    return code_output(status, stdout.strip(), strip_paths(stderr).strip())


def strip_paths(traceback: str) -> str:
    """Write ``File "…", line N`` as ``line N``, as the reference does in stderr."""
    return _FRAME.sub(r"line \1", traceback)


def tool_response(success: bool, stdout: str | None = None, stderr: str | None = None) -> str:
    """Write a result as the prompt-format tooling does: markers hug the text, failure is ``failed``."""
    pieces = ["completed" if success else "failed"]
    if stdout:
        pieces.append(f"[stdout]{stdout}[/stdout]")
    if stderr:
        pieces.append(f"[stderr]{stderr}[/stderr]")
    return "\n".join(pieces)
