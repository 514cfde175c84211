"""Answers kept on disk for a while, so that the same question is not paid for twice."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread

from arriero.tools._places import cache_folder

T = TypeVar("T")

DEFAULT_TTL = 3600.0
"""Seconds for which an answer is kept where nobody says otherwise."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS answer (key TEXT PRIMARY KEY, at REAL NOT NULL, size INTEGER NOT NULL,"
    " text TEXT NOT NULL) WITHOUT ROWID"
)


class SearchCache:
    """Keeps answers in one SQLite file that several processes may use at once.

    ``path`` defaults to ``search.sqlite3`` in ``$ARRIERO_HOME/cache`` or the user's cache directory; it is made
    readable by its owner alone. ``ttl`` is in seconds, ``max_bytes`` bounds the text kept, ``clock`` gives
    seconds since the epoch. Keys are stored as digests. A cache that cannot be read or written is no error:
    nothing is kept.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        ttl: float = DEFAULT_TTL,
        max_bytes: int = 20_000_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = cache_folder() / "search.sqlite3" if path is None else Path(path)
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock

    def __repr__(self) -> str:
        return f"SearchCache({str(self._path)!r}, ttl={self._ttl:g})"

    async def get(self, key: str) -> dict[str, Any] | None:
        """The answer kept under a key; None when there is none, or it is too old or damaged."""
        return await anyio.to_thread.run_sync(self._get, _digest(key))

    async def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep an answer and drop those that are too old, then the oldest beyond the size limit."""
        await anyio.to_thread.run_sync(self._put, _digest(key), json.dumps(value))

    async def clear(self) -> None:
        """Forget everything."""
        await anyio.to_thread.run_sync(self._try, lambda base: base.execute("DELETE FROM answer"))

    def _get(self, key: str) -> dict[str, Any] | None:
        now = self._clock()

        def look(base: sqlite3.Connection) -> Any:
            # An answer from the future was written under another clock: its age is not known.
            asked = (key, now - self._ttl, now)
            return base.execute("SELECT text FROM answer WHERE key=? AND at>? AND at<=?", asked).fetchone()

        row = self._try(look)
        try:
            value = None if row is None else json.loads(row[0])
        except (ValueError, TypeError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def _put(self, key: str, text: str) -> None:
        now, size = self._clock(), len(text.encode())
        if size > self._max_bytes:
            return

        def keep(base: sqlite3.Connection) -> None:
            base.execute("BEGIN IMMEDIATE")
            base.execute("DELETE FROM answer WHERE at<=? OR at>?", (now - self._ttl, now))
            base.execute("INSERT OR REPLACE INTO answer VALUES (?,?,?,?)", (key, now, size, text))
            older = "SELECT key, sum(size) OVER (ORDER BY at DESC, key) AS total FROM answer"
            base.execute(
                f"DELETE FROM answer WHERE key IN (SELECT key FROM ({older}) WHERE total>?)",  # noqa: S608
                (self._max_bytes,),
            )
            base.execute("COMMIT")

        self._try(keep)

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do it; when the file is damaged, once more with a new one. None when it cannot be done."""
        for _ in range(2):
            try:
                with self._open() as base:
                    return work(base)
            except sqlite3.OperationalError:
                return None
            except sqlite3.DatabaseError:
                self._remove()
            except OSError:
                return None
        return None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it with the umask's mode; its journal takes over the mode of the file.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(self._path, timeout=2.0, isolation_level=None)) as base:
            base.execute(_SCHEMA)
            yield base

    def _remove(self) -> None:
        for suffix in ("", "-journal"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()
