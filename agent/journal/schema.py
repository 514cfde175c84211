"""The journal's tables, and opening its file.

Rows are ordered by their ids and never by time, so that a clock that goes backwards changes nothing.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from .errors import JournalError, JournalFormatError

FORMAT: Final = 1
"""The version of the tables, kept as ``user_version``; a journal with a higher one is refused."""

APPLICATION: Final = 0x61727269
"""``application_id`` of a journal: "arri" in ASCII, so that another program's database is not written to."""

BUSY_SECONDS: Final = 10.0
"""How long one process waits while another writes."""

_TABLES: Final = """
CREATE TABLE content (
  id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, packed INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE session (
  id TEXT PRIMARY KEY, name TEXT UNIQUE, title TEXT NOT NULL DEFAULT '', setup INTEGER NOT NULL,
  model TEXT NOT NULL, weights TEXT, head INTEGER, forked_from TEXT, created REAL NOT NULL,
  updated REAL NOT NULL);
CREATE TABLE entry (
  id INTEGER PRIMARY KEY, parent INTEGER, session TEXT NOT NULL, run TEXT NOT NULL, step INTEGER NOT NULL,
  kind TEXT NOT NULL, same_messages INTEGER NOT NULL, same_tokens INTEGER NOT NULL,
  messages INTEGER, tokens INTEGER, open INTEGER NOT NULL, turns TEXT, time REAL NOT NULL);
CREATE INDEX entry_session ON entry (session);
CREATE TABLE run (
  id TEXT PRIMARY KEY, session TEXT NOT NULL, prompt INTEGER, model TEXT NOT NULL, weights TEXT,
  dialect TEXT NOT NULL, template TEXT NOT NULL, settings TEXT NOT NULL, versions TEXT NOT NULL,
  started REAL NOT NULL, ended REAL, stop_reason TEXT, error TEXT, usage TEXT);
CREATE INDEX run_session ON run (session);
CREATE TABLE event (
  run TEXT NOT NULL, seq INTEGER NOT NULL, lines BLOB NOT NULL, PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE TABLE call (
  run TEXT NOT NULL, id TEXT NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, effect TEXT NOT NULL,
  state TEXT NOT NULL, arguments INTEGER NOT NULL, answer INTEGER, ok INTEGER, seconds REAL,
  started REAL NOT NULL, ended REAL, PRIMARY KEY (run, id)) WITHOUT ROWID;
CREATE TABLE artifact (
  run TEXT NOT NULL, call TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, mime TEXT NOT NULL,
  content INTEGER NOT NULL, PRIMARY KEY (run, call, number)) WITHOUT ROWID;
CREATE TABLE generation (
  run TEXT NOT NULL, number INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, seed INTEGER,
  max_tokens INTEGER, ids BLOB NOT NULL, texts BLOB NOT NULL, stop TEXT, PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE found USING fts5 (text, role UNINDEXED, entry UNINDEXED);
CREATE TABLE indexed (entry INTEGER NOT NULL);
"""


def connect(path: Path, *, max_bytes: int | None = None) -> sqlite3.Connection:
    """A connection to the journal at ``path``, which is made (mode 0600) where there is none.

    Raises JournalFormatError for a file of a newer version, a damaged one or another program's, and
    JournalError where it cannot be opened.
    """
    try:
        _make_private(path)
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"the journal {path} cannot be opened: {error}") from error
    try:
        _prepare(connection, path, max_bytes)
    except sqlite3.Error as error:
        connection.close()
        raise explained(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def explained(error: sqlite3.Error, path: Path) -> JournalError:
    """What an error of SQLite means for the journal, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return JournalError(f"the journal {path} cannot grow: the disk, or its own bound, is full; make room")
    if code == sqlite3.SQLITE_READONLY:
        return JournalError(f"the journal {path} may only be read; make it and its folder writable")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalError(
            f"another process has been writing to the journal {path} for over {BUSY_SECONDS:g} s; try again"
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return JournalFormatError(
            f"the journal {path} is damaged or no journal ({error}); move it away to begin a new one"
        )
    return JournalError(f"the journal {path} cannot be used: {error}")


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # SQLite gives its files beside it the mode of this one.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(handle).st_mode & 0o077:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _prepare(connection: sqlite3.Connection, path: Path, max_bytes: int | None) -> None:
    def pragma(text: str) -> int:
        return int(connection.execute(f"PRAGMA {text}").fetchone()[0])

    found, application = pragma("user_version"), pragma("application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and application != APPLICATION:
        raise JournalFormatError(f"{path} is a database, but no journal of arriero; name another file")
    if found > FORMAT:
        raise JournalFormatError(
            f"the journal {path} has format {found} and this arriero knows up to {FORMAT}: "
            "update arriero, or use another journal"
        )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")
    if max_bytes is not None:
        connection.execute(f"PRAGMA max_page_count={max(1, max_bytes // pragma('page_size'))}")
    if not tables:
        _create(connection)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been quicker.
        if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            for statement in _TABLES.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute("INSERT INTO indexed VALUES (0)")
            connection.execute(f"PRAGMA application_id={APPLICATION}")
            connection.execute(f"PRAGMA user_version={FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
