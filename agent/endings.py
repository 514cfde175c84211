"""How a run ends: the reason that it gives, and the error in words."""

import logging
from typing import Final

from arriero.prompts import ArrieroError

from .backends import ContextOverflow
from .cancellation import RunCancelled
from .events import StopReason

log = logging.getLogger(__name__)

CONCLUDED: Final = ("max_steps", "loop")  # reasons after which the model may still give a last answer


class Ended(Exception):
    """Leaves the loop from wherever it is, with the reason."""

    def __init__(self, reason: StopReason, error: str) -> None:
        super().__init__(error)
        self.reason = reason


def ending(fault: Exception, run_id: str) -> tuple[StopReason, str | None]:
    """The reason and the error of a run that ``fault`` ends; what nobody foresaw is logged with its traceback."""
    match fault:
        case Ended():
            return fault.reason, str(fault)
        case RunCancelled() if str(fault) == "max_seconds":
            return "max_seconds", "the limit of seconds is reached"
        case RunCancelled():
            return "cancelled", None
        case ContextOverflow():
            return "max_tokens", str(fault)
        case ArrieroError():
            return "error", str(fault)
        case _:
            log.error("run %s failed", run_id, exc_info=fault)
            return "error", f"{type(fault).__name__}: {fault}"
