"""Exit codes, and the errors that lead to them."""

from enum import IntEnum
from typing import Final

from arriero.agent.events import RunFinished, StopReason
from arriero.prompts import ArrieroError


class Exit(IntEnum):
    """What the process tells its caller."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CHECK = 3
    LIMIT = 4
    BLOCKED = 5
    NOT_READY = 6
    INTERRUPTED = 130
    PIPE = 141


class NotReady(ArrieroError):
    """Something that the run needs is missing: a model, a tool, a key."""


_BY_REASON: Final[dict[StopReason, Exit]] = {
    "final": Exit.OK,
    "max_steps": Exit.LIMIT,
    "max_tokens": Exit.LIMIT,
    "max_seconds": Exit.LIMIT,
    "loop": Exit.LIMIT,
    "cancelled": Exit.INTERRUPTED,
    "blocked": Exit.BLOCKED,
    "approval": Exit.BLOCKED,
    "error": Exit.FAILED,
}


def error_code(error: ArrieroError) -> Exit:
    """The exit code for an error that ended a command: USAGE for a file that was named and cannot be taken, NOT_READY
    where the command lacks something else, FAILED for the rest.
    """
    from arriero.agent.backends import ModelError

    from .attachments import AttachmentError

    if isinstance(error, AttachmentError):
        return Exit.USAGE
    return Exit.NOT_READY if isinstance(error, (NotReady, ModelError)) else Exit.FAILED


def exit_code(finished: RunFinished) -> Exit:
    """The exit code that says how a run ended."""
    return _BY_REASON[finished.stop_reason]
