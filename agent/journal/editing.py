"""Changes to sessions that no run makes."""

import sqlite3
import time

from . import reading
from .contents import put
from .errors import JournalError, UnknownSession
from .records import SessionInfo
from .restore import chain

_RESERVED = ("last",)

_KEEP_REACHABLE = """
CREATE TEMP TABLE kept AS WITH RECURSIVE back (id) AS (
  SELECT head FROM session WHERE head IS NOT NULL AND id <> ?
  UNION SELECT entry.parent FROM back JOIN entry ON entry.id = back.id WHERE entry.parent IS NOT NULL)
SELECT id FROM back"""

_OF_RUN = (
    "DELETE FROM event WHERE run IN (SELECT id FROM run WHERE session=?)",
    "DELETE FROM call WHERE run IN (SELECT id FROM run WHERE session=?)",
    "DELETE FROM artifact WHERE run IN (SELECT id FROM run WHERE session=?)",
    "DELETE FROM generation WHERE run IN (SELECT id FROM run WHERE session=?)",
)

_DELETE_UNUSED = """
DELETE FROM content WHERE id NOT IN (SELECT messages FROM (
SELECT messages FROM entry UNION SELECT tokens FROM entry UNION SELECT setup FROM session
UNION SELECT prompt FROM run UNION SELECT arguments FROM call UNION SELECT answer FROM call
UNION SELECT content FROM artifact) WHERE messages NOT NULL)"""


def check_name(db: sqlite3.Connection, name: str, session_id: str) -> None:
    """Raise JournalError for a name that cannot be given to a session."""
    if not name.strip() or len(name) > 100 or not name.isprintable() or name in _RESERVED:
        raise JournalError(
            f"{name!r} is no name for a session; use 1 to 100 printable characters, not 'last'"
        )
    taken = db.execute("SELECT id FROM session WHERE name=?", (name,)).fetchone()
    if taken and taken[0] != session_id:
        raise JournalError(f"there is a session called {name!r} already")


def create(db: sqlite3.Connection, session_id: str, name: str | None, setup: bytes, model: str) -> None:
    """Make an empty session."""
    if name is not None:
        check_name(db, name, session_id)
    now = time.time()
    db.execute(
        "INSERT INTO session (id, name, setup, model, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
        (session_id, name, put(db, setup), model, now, now),
    )


def rename(db: sqlite3.Connection, session_id: str, name: str | None) -> SessionInfo:
    """See ``Journal.rename``."""
    if name is not None:
        check_name(db, name, session_id)
    db.execute("UPDATE session SET name=? WHERE id=?", (name, session_id))
    return reading.session(db, session_id)


def fork(
    db: sqlite3.Connection, source: SessionInfo, new: str, at: int | None, name: str | None, now: float
) -> SessionInfo:
    """See ``Journal.fork``."""
    entries = chain(db, reading.head(db, source.id))
    number = len(entries) if at is None else at
    if not 1 <= number <= len(entries):
        raise UnknownSession(f"the session {source.shown} has entries 1 to {len(entries)}, and no {number}")
    db.execute(
        "INSERT INTO session (id, title, setup, model, weights, head, forked_from, created, updated) "
        "SELECT ?, title, setup, model, weights, ?, id, ?, ? FROM session WHERE id=?",
        (new, entries[number - 1].id, now, now, source.id),
    )
    return rename(db, new, name)


def undo(db: sqlite3.Connection, session_id: str) -> bool:
    """See ``Journal.undo``."""
    for entry in reversed(chain(db, reading.head(db, session_id))):
        if entry.kind == "turn":
            db.execute(
                "UPDATE session SET head=(SELECT parent FROM entry WHERE id=?) WHERE id=?",
                (entry.id, session_id),
            )
            return True
    return False


def delete(db: sqlite3.Connection, session_id: str) -> None:
    """See ``Journal.delete``."""
    db.execute(_KEEP_REACHABLE, (session_id,))
    try:
        db.execute(
            "UPDATE entry SET session=(SELECT id FROM session WHERE forked_from=:id LIMIT 1) WHERE session=:id AND "
            "id IN kept AND EXISTS (SELECT 1 FROM session WHERE forked_from=:id)",
            {"id": session_id},
        )
        db.execute(
            "DELETE FROM found WHERE entry IN (SELECT id FROM entry WHERE session=? AND id NOT IN kept)",
            (session_id,),
        )
        db.execute("INSERT INTO found (found) VALUES ('rebuild')")
        db.execute("DELETE FROM entry WHERE session=? AND id NOT IN kept", (session_id,))
        for delete_of_run in _OF_RUN:
            db.execute(delete_of_run, (session_id,))
        db.execute("DELETE FROM run WHERE session=?", (session_id,))
        db.execute("UPDATE session SET forked_from=NULL WHERE forked_from=?", (session_id,))
        db.execute("DELETE FROM session WHERE id=?", (session_id,))
        db.execute(_DELETE_UNUSED)
    finally:
        db.execute("DROP TABLE kept")
