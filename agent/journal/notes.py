"""What a run has to say to its journal, gathered until the writer comes round: one job for many notes."""

import itertools
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from arriero.agent.conversation import Change
from arriero.tools.threads import outcome

from .contents import put_messages, put_tokens
from .eventlog import Noted, packed_events
from .writer import Writer


class Rows(NamedTuple):
    """Rows of one kind: the beginning of the statement that inserts them, and what follows the values."""

    into: str
    otherwise: str = ""


_MOST_ROWS: Final = 32  # of one statement: far below SQLite's limit of parameters
_ENTRY: Final = Rows(
    "INSERT INTO entry (id, parent, session, run, step, kind, same_messages, same_tokens, messages, tokens, open, "
    "turns, time)"
)


class Batch:
    """Notes of one run that are written together: the connection, and what they share.

    Rows are gathered and written in few statements: each statement lets other threads run meanwhile, and that costs
    more than the rows.
    """

    def __init__(self, db: sqlite3.Connection, run: str, session: str) -> None:
        self.db = db
        self.run = run
        self.session = session
        self.events: list[Noted] = []
        self._rows: dict[Rows, list[tuple[Any, ...]]] = {}
        self._head: int | None = None
        self._next_entry = 0

    def insert(self, rows: Rows, row: tuple[Any, ...]) -> None:
        """Have a row inserted with others of its kind, at the end."""
        self._rows.setdefault(rows, []).append(row)

    def entry(
        self, change: Change, kind: str, step: int, *, is_open: bool, turns: str | None, now: float
    ) -> None:
        """Put a change behind what the session has, and make it the session's head."""
        if not self._next_entry:
            row = self.db.execute(
                "SELECT head, (SELECT coalesce(max(id), 0) FROM entry) FROM session WHERE id=?",
                (self.session,),
            ).fetchone()
            if row is None:  # it was removed meanwhile
                return
            self._head, self._next_entry = row[0], row[1] + 1
        row = (
            self._next_entry,
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
        )
        self.insert(_ENTRY, row)
        self._head = self._next_entry
        self._next_entry += 1

    def finish(self) -> None:
        """Write what the notes have left to be written at once."""
        for rows, gathered in self._rows.items():
            self._insert(rows, gathered)
        if self.events:
            row = (self.run, self.events[0][1].seq, packed_events(self.events))
            self.db.execute("INSERT INTO event VALUES (?, ?, ?)", row)
        if self._next_entry:
            self.db.execute("UPDATE session SET head=? WHERE id=?", (self._head, self.session))

    def _insert(self, rows: Rows, gathered: list[tuple[Any, ...]]) -> None:
        width = ",".join("?" * len(gathered[0]))
        start = 0
        while start < len(gathered):
            # Powers of two, so that few statements are ever prepared.
            count = min(_MOST_ROWS, 1 << ((len(gathered) - start).bit_length() - 1))
            values = ",".join([f"({width})"] * count)
            some = itertools.chain.from_iterable(gathered[start : start + count])
            self.db.execute(f"{rows.into} VALUES {values} {rows.otherwise}", tuple(some))
            start += count


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
