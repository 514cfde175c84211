"""What a run has to say to its journal, gathered until the writer comes round: one job for many notes."""

import sqlite3
from collections import deque
from collections.abc import Callable

from arriero.agent.conversation import Change
from arriero.tools.threads import outcome

from .contents import put_messages, put_tokens
from .eventlog import Noted, packed_lines
from .writer import Writer


class Batch:
    """Notes of one run that are written together: the connection, and what they share."""

    def __init__(self, db: sqlite3.Connection, run: str, session: str) -> None:
        self.db = db
        self.run = run
        self.session = session
        self.events: list[Noted] = []
        self._head: int | None = None
        self._moved = False

    def entry(
        self, change: Change, kind: str, step: int, *, is_open: bool, turns: str | None, now: float
    ) -> None:
        """Put a change behind what the session has, and make it the session's head."""
        if not self._moved:
            row = self.db.execute("SELECT head FROM session WHERE id=?", (self.session,)).fetchone()
            if row is None:  # it was removed meanwhile
                return
            self._head, self._moved = row[0], True
        made = self.db.execute(
            "INSERT INTO entry (parent, session, run, step, kind, same_messages, same_tokens, messages, tokens, "
            "open, turns, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._head,
                self.session,
                self.run,
                step,
                kind,
                change.same_messages,
                change.same_tokens,
                put_messages(self.db, change.messages),
                put_tokens(self.db, change.tokens),
                is_open,
                turns,
                now,
            ),
        )
        self._head = made.lastrowid

    def finish(self) -> None:
        """Write what the notes have left to be written at once."""
        if self.events:
            row = (self.run, self.events[0][1].seq, packed_lines(self.events))
            self.db.execute("INSERT INTO event VALUES (?, ?, ?)", row)
        if self._moved:
            self.db.execute("UPDATE session SET head=? WHERE id=?", (self._head, self.session))


Note = Noted | Callable[[Batch], None]
"""An event with its moment, or something else to write."""


class Notes:
    """The notes of one run, in order; ``add`` may be called from one thread while the writer takes them in its own.

    A job is on its way to the writer whenever there are notes, so that they are committed as soon as any other job.
    """

    def __init__(self, writer: Writer, run: str, session: str) -> None:
        self.run = run
        self.session = session
        self._writer = writer
        self._waiting: deque[Note] = deque()
        self._called = False

    def add(self, note: Note) -> None:
        """Have a note written soon."""
        self._waiting.append(note)
        if not self._called:
            self._called = True
            self._writer.put(_Taking(self))

    async def written(self, note: Callable[[Batch], None], *, durable: bool = False) -> None:
        """Have a note written now, behind all others; raises JournalError where it cannot be."""
        await outcome(self._writer.submit(_Taking(self, note), durable=durable))

    def take(self) -> list[Note]:
        """All notes that wait."""
        # First this: whoever adds a note now calls again, and one that was added before is among those taken.
        self._called = False
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


class _Taking:
    """A job that writes the notes that wait when it is done; done again after a fault, it writes the same ones."""

    __slots__ = ("_last", "_notes", "_taken")

    def __init__(self, notes: Notes, last: Callable[[Batch], None] | None = None) -> None:
        self._notes = notes
        self._last = last
        self._taken: list[Note] | None = None

    def __call__(self, db: sqlite3.Connection) -> None:
        if self._taken is None:
            self._taken = self._notes.take()
        batch = Batch(db, self._notes.run, self._notes.session)
        for note in self._taken:
            if isinstance(note, tuple):
                batch.events.append(note)
            else:
                note(batch)
        if self._last is not None:
            self._last(batch)
        batch.finish()
