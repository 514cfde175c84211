"""The thread that writes: jobs in order, committed in batches, nobody else's connection."""

import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .errors import JournalError
from .schema import connect, explained

Job = Callable[[sqlite3.Connection], Any]

_LINGER: Final = 0.1
"""Seconds that jobs wait for others to share their commit when nobody waits for them: a commit costs far more
than the rows of a step, and a step of a model that computes takes longer than this.
"""

_IDLE: Final = 5.0
"""Seconds without a job after which the thread ends; the next job starts another."""


@dataclass(slots=True)
class _Entry:
    job: Job
    done: Future[Any] | None
    durable: bool


class Writer:
    """Writes to one journal; safe to use from any thread.

    A committed job survives the end of the process, however it comes; a ``durable`` one survives the end of
    the machine too (fsync). Jobs that nobody waits for are committed within about 120 ms. ``faults`` counts
    batches that could not be written: what was in them is lost, and whoever keeps a conversation writes it
    whole again.
    """

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        self.path = path
        self.faults = 0
        self.fault: JournalError | None = None
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._waiting: list[_Entry] = []
        self._urgent = False
        self._closing = False
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def put(self, job: Job) -> None:
        """Have ``job`` done soon; what goes wrong shows at the next job that is waited for."""
        self._add(_Entry(job, None, False))

    def submit(self, job: Job, *, durable: bool = False) -> Future[Any]:
        """Have ``job`` done now; the future holds what it returned once it is committed, or a JournalError."""
        entry = _Entry(job, Future(), durable)
        self._add(entry)
        assert entry.done is not None
        return entry.done

    def close(self) -> None:
        """Write what waits and end the thread; a later job starts it again."""
        with self._changed:
            thread = self._thread
            self._closing = True
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _add(self, entry: _Entry) -> None:
        with self._changed:
            if self._process != os.getpid():
                # After a fork only the forking thread lives on: the child writes with a thread of its own.
                self._process, self._thread, self._waiting = os.getpid(), None, []
            first = not self._waiting
            self._waiting.append(entry)
            urgent = entry.done is not None and not self._urgent
            self._urgent = self._urgent or urgent
            if self._thread is None:
                self._closing = False
                self._thread = threading.Thread(target=self._work, name="arriero-journal", daemon=True)
                self._thread.start()
            elif first or urgent:
                self._changed.notify_all()

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while batch := self._next():
                try:
                    connection = connection or connect(self.path, max_bytes=self._max_bytes)
                except JournalError as fault:
                    self._fail(batch, fault)
                    continue
                self._write_some(connection, batch)
        finally:
            if connection is not None:
                connection.close()

    def _next(self) -> list[_Entry]:
        with self._changed:
            while not self._waiting:
                if self._closing or not self._changed.wait(_IDLE):
                    if self._waiting:
                        break
                    self._thread = None
                    return []
            if not self._urgent and not self._closing:
                self._changed.wait(_LINGER)
            batch, self._waiting, self._urgent = self._waiting, [], False
            self._changed.notify_all()
            return batch

    def _write_some(self, connection: sqlite3.Connection, batch: list[_Entry]) -> None:
        try:
            self._write(connection, batch)
        except JournalError as fault:
            if len(batch) == 1:
                self._fail(batch, fault)
                return
            # One job's fault, such as a session that is not there, must not take the others along.
            for entry in batch:
                self._write_some(connection, [entry])

    def _write(self, connection: sqlite3.Connection, batch: list[_Entry]) -> None:
        durable = any(entry.durable for entry in batch)
        try:
            if durable:
                connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            answers = [entry.job(connection) for entry in batch]
            connection.execute("COMMIT")
            if durable:
                connection.execute("PRAGMA synchronous=NORMAL")
        except Exception as error:
            _roll_back(connection)
            if isinstance(error, JournalError):
                raise
            if isinstance(error, sqlite3.Error):
                raise explained(error, self.path) from error
            raise JournalError(f"the journal cannot hold this: {type(error).__name__}: {error}") from error
        for entry, answer in zip(batch, answers, strict=True):
            if entry.done is not None:
                entry.done.set_result(answer)

    def _fail(self, batch: list[_Entry], fault: JournalError) -> None:
        self.fault = fault
        for entry in batch:
            self.faults += entry.done is None
            if entry.done is not None:
                entry.done.set_exception(fault)


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error:
        return  # the error that led here says more
