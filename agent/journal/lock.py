"""One owner a session: a lock on a file, which the system takes back however its owner ends."""

import fcntl
import os
from pathlib import Path

from .errors import JournalError, SessionBusy


class SessionLock:
    """Holds a session until ``release``. Raises SessionBusy where somebody else does."""

    def __init__(self, journal: Path, session: str, shown: str) -> None:
        folder = journal.with_name(f"{journal.name}-locks")
        self._path = folder / session
        try:
            journal.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(exist_ok=True, mode=0o700)
            self._handle = self._acquire(shown)
        except OSError as error:
            raise JournalError(f"the session {shown} cannot be locked in {folder}: {error}") from error
        os.truncate(self._handle, 0)
        os.write(self._handle, str(os.getpid()).encode())

    def release(self) -> None:
        """Let others have the session; safe to call twice."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            self._path.unlink(missing_ok=True)
            os.close(handle)

    def _acquire(self, shown: str) -> int:
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.read(handle, 20).decode(errors="replace").strip()
                os.close(handle)
                who = "another agent of this program" if owner == str(os.getpid()) else f"process {owner}"
                raise SessionBusy(
                    f"the session {shown} is in use by {who}; wait for it to end, or fork the session"
                ) from None
            # Its last owner may have removed the file between our opening and our locking it.
            try:
                if os.stat(self._path).st_ino == os.fstat(handle).st_ino:
                    return handle
            except FileNotFoundError:
                pass
            os.close(handle)
