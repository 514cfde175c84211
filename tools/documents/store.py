"""The index on disk: one SQLite file with a full-text table, rebuilt whenever it is damaged or of old form."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from arriero.tools.base import ToolError

_VERSION: Final = 1

# The places of a passage are kept beside it: one number where lines follow each other, else one per line.
_SCHEMA: Final = (
    "CREATE TABLE file (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, changed INTEGER NOT NULL,"
    " size INTEGER NOT NULL, hash BLOB NOT NULL, settled INTEGER NOT NULL, problem TEXT)",
    "CREATE INDEX file_hash ON file (hash)",
    "CREATE TABLE passage (id INTEGER PRIMARY KEY, file INTEGER NOT NULL, places TEXT NOT NULL)",
    "CREATE INDEX passage_file ON passage (file)",
    "CREATE VIRTUAL TABLE words USING fts5 (text, name, tokenize='porter unicode61 remove_diacritics 2')",
    f"PRAGMA user_version={_VERSION}",
)


class Damaged(Exception):
    """The index cannot be used as it is; it has to be made anew."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the index, made if there is none, readable by its owner alone.

    Raises Damaged for a file that is no index of ours, ToolError where it cannot be opened or written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it with the umask's mode; its log and shared memory take over the mode of the file.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ToolError(f"the index of the documents cannot be written ({error.strerror})") from None
    try:
        with closing(sqlite3.connect(path, timeout=10.0, isolation_level=None)) as base:
            _prepare(base)
            yield base
    except sqlite3.DatabaseError as error:
        raise _judged(error) from None


def remove(path: Path) -> None:
    """Delete the index with its log."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _prepare(base: sqlite3.Connection) -> None:
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=NORMAL")
    base.execute("PRAGMA temp_store=FILE")
    if _version(base) == _VERSION:
        return
    base.execute("BEGIN IMMEDIATE")
    # Another process may have made the tables while we waited for the lock.
    version = _version(base)
    if version not in (0, _VERSION):
        raise Damaged(f"made by another version ({version})")
    if version == 0:
        for statement in _SCHEMA:
            base.execute(statement)
    base.execute("COMMIT")


def _version(base: sqlite3.Connection) -> int:
    row = base.execute("PRAGMA user_version").fetchone()
    return int(row[0])


def _judged(error: sqlite3.DatabaseError) -> Exception:
    said = str(error)
    if "fts5" in said and "no such module" in said:
        return ToolError("this Python's SQLite has no full-text search (FTS5)")
    if not isinstance(error, sqlite3.OperationalError):
        return Damaged(said)
    if "vtable constructor" in said or "no such" in said or "already exists" in said or "malformed" in said:
        return Damaged(said)
    if "locked" in said or "busy" in said:
        return ToolError("the index of the documents is in use by another process; try again")
    return ToolError(f"the index of the documents cannot be used ({said})")
