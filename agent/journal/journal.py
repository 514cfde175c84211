"""The journal: a SQLite file with every run, and what can be asked of it."""

import os
import sqlite3
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from arriero.agent.backends import Model
from arriero.agent.conversation import Conversation
from arriero.agent.events import Event
from arriero.agent.places import data_folder
from arriero.prompts import Message

from . import editing, reading, searching
from .errors import JournalError
from .lock import SessionLock
from .recorder import JournalRecorder
from .records import CallInfo, Found, Generation, RunInfo, SessionInfo
from .restore import Entry, chain
from .schema import connect, explained
from .writer import Writer

T = TypeVar("T")


def default_path() -> Path:
    """``journal.db`` in the folder for a user's data (``$ARRIERO_HOME``)."""
    return data_folder() / "journal.db"


class Journal:
    """Keeps runs and sessions in the SQLite file at ``path`` (default: ``default_path()``), made when first used.

    The file is in WAL mode and readable by its owner only. One thread writes; it ends when there is nothing to
    write for 5 seconds. ``max_bytes`` bounds the file. Methods may be called from any thread and block for
    milliseconds; sessions and runs are named by their name, their id, the beginning of it (4 characters), or
    ``last``. Raises JournalError, for a newer or damaged file JournalFormatError; UnknownSession.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, max_bytes: int | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        self._writer = Writer(self.path, max_bytes=max_bytes)

    def recorder(self, conversation: Conversation, run_id: str, model: Model) -> JournalRecorder:
        """What keeps one run; the loop tells it what happens."""
        return JournalRecorder(self._writer, conversation, run_id, model)

    def lock(self, session: str, shown: str = "") -> SessionLock:
        """Own a session, by its id. Raises SessionBusy."""
        return SessionLock(self.path, session, shown or session[:8])

    def sessions(self, *, limit: int | None = None) -> list[SessionInfo]:
        """The sessions, the one that was used last first."""
        with self._reading() as db:
            return reading.sessions(db, limit)

    def session(self, name: str) -> SessionInfo:
        """One session. Raises UnknownSession."""
        with self._reading() as db:
            return reading.session(db, name)

    def entries(self, name: str) -> list[Entry]:
        """What a session holds, in order."""
        with self._reading() as db:
            return chain(db, reading.head(db, reading.session(db, name).id))

    def conversation(self, name: str) -> Conversation:
        """A session's conversation as it was kept, with the calls that nobody finished in ``pending``."""
        with self._reading() as db:
            return reading.conversation(db, reading.session(db, name).id)

    def before(self, run: str) -> Conversation:
        """The conversation as a run found it."""
        with self._reading() as db:
            return reading.before(db, reading.run(db, run).id)

    def runs(self, session: str | None = None, *, limit: int | None = None) -> list[RunInfo]:
        """The runs, or those of one session, the newest first."""
        with self._reading() as db:
            return reading.runs(db, session and reading.session(db, session).id, limit)

    def run(self, name: str) -> RunInfo:
        """One run, by its id or the beginning of it, or ``last``. Raises UnknownSession."""
        with self._reading() as db:
            return reading.run(db, name)

    def events(self, run: str) -> list[tuple[float, Event]]:
        """When and what happened in a run; pieces of text come together, and RunFinished names no messages."""
        with self._reading() as db:
            return reading.events(db, reading.run(db, run).id)

    def calls(self, run: str) -> list[CallInfo]:
        """The calls of a run."""
        with self._reading() as db:
            return reading.calls(db, reading.run(db, run).id)

    def generations(self, run: str) -> list[Generation]:
        """What the model wrote in a run, token by token."""
        with self._reading() as db:
            return reading.generations(db, reading.run(db, run).id)

    def admitted(self, run: str) -> str | None:
        """The prompt of a run as its screens let it pass; None where they did not."""
        with self._reading() as db:
            return reading.admitted(db, reading.run(db, run).id)

    def compactions(self, run: str) -> list[tuple[tuple[Message, ...], tuple[Message, ...]]]:
        """The messages before and after each time that a run made room in its context."""
        with self._reading() as db:
            return reading.compactions(db, reading.run(db, run).id)

    def rename(self, session: str, name: str | None) -> SessionInfo:
        """Give a session a name that no other has; None takes it away."""
        return self.change(lambda db: editing.rename(db, reading.session(db, session).id, name))

    def fork(self, session: str, *, at: int | None = None, name: str | None = None) -> SessionInfo:
        """A new session that shares what ``session`` held up to the entry numbered ``at`` (default: all)."""
        new = uuid.uuid4().hex
        return self.change(
            lambda db: editing.fork(db, reading.session(db, session), new, at, name, time.time())
        )

    def undo(self, session: str) -> bool:
        """Take back a session's last turn; what it held stays in the journal. False if there is none."""
        return bool(self.change(lambda db: editing.undo(db, reading.session(db, session).id)))

    def delete(self, session: str) -> SessionInfo:
        """Remove a session and its runs for good: its texts are overwritten in the file.

        What a fork of it still shows stays with the fork. Raises SessionBusy while somebody has it.
        """
        info = self.session(session)
        lock = self.lock(info.id, info.shown)
        try:
            self.change(lambda db: editing.delete(db, info.id))
            with self._reading() as db:
                # Old pages stay in the log of changes until it is emptied.
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            lock.release()
        return info

    def search(self, words: str, *, limit: int = 20) -> list[Found]:
        """Messages with all these words, the best first."""
        self.change(searching.index_new)
        with self._reading() as db:
            return searching.search(db, words, limit)

    def close(self) -> None:
        """Write what waits and end the thread; the journal may be used again afterwards."""
        self._writer.close()

    def change(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Have ``job`` done in a transaction of its own; returns what it does."""
        done: Future[T] = self._writer.submit(job)
        return done.result()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        db = connect(self.path)
        try:
            yield db
        except sqlite3.Error as error:
            raise explained(error, self.path) from error
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise JournalError(f"the journal {self.path} holds something unreadable: {error}") from error
        finally:
            db.close()
