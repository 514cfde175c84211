"""How errors are told: what, why and what to do, and a command to try where the message names none."""

import logging
import os
import sys
from pathlib import Path
from typing import Final

from arriero.prompts import ArrieroError

from .settings import state_folder
from .terminal import neutral

_MOST: Final = 1_000_000  # bytes of the log before it begins anew
_LOG: Final = "faults.log"


def say_error(error: ArrieroError | str) -> None:
    """Say on stderr what went wrong."""
    lines = [f"error: {neutral(str(error))}"]
    if isinstance(error, ArrieroError) and (command := command_for(error)):
        lines.append(f"  try: {command}")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def command_for(error: ArrieroError) -> str:
    """The command that tells more of an error, where its message names none itself."""
    from arriero.agent.backends import ModelError
    from arriero.agent.recorder import JournalError
    from arriero.safety.base import ScreenError
    from arriero.tools.python.errors import SandboxBroken, SandboxUnavailable

    from .exits import NotReady

    said = str(error)
    if any(words in said for words in ("; ", "did you mean", "arriero ", "No such file")):
        return ""  # it says itself what to do
    examined = (NotReady, ModelError, JournalError, ScreenError, SandboxBroken, SandboxUnavailable)
    return "arriero doctor" if isinstance(error, examined) else ""


def say_fault(error: Exception) -> None:
    """Say on stderr that something happened that should not have, and where its traceback is."""
    what = f"{type(error).__name__}: {error}".replace("\n", " ")
    say_error(f"this should not have happened: {what}")
    info = type(error), error, error.__traceback__
    FAULTS.emit(logging.LogRecord("arriero", logging.ERROR, "", 0, what, None, info))
    say_log() or sys.stderr.write("  try: the same with --debug\n")


def say_log() -> bool:
    """Say on stderr where tracebacks of this process were written; False where there are none."""
    if FAULTS.path is not None:
        sys.stderr.write(f"  log: {FAULTS.path}\n")
    return FAULTS.path is not None


class FaultLog(logging.Handler):
    """Writes errors that nobody foresaw, with their tracebacks, to a file that only its owner can read.

    ``path`` is where, once there was one and it could be written.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.path: Path | None = None
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Add one error."""
        path = state_folder() / _LOG
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            full = path.exists() and path.stat().st_size > _MOST
            how = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if full else os.O_APPEND)
            with os.fdopen(os.open(path, how, 0o600), "w", encoding="utf-8", errors="replace") as file:
                file.write(f"{self.format(record)}\n")
        except OSError:
            return
        self.path = path


FAULTS: Final = FaultLog()
"""What this process has to log."""
