"""What a run has to say to its journal, gathered until the writer comes round: one job for many notes."""

import itertools
import sqlite3
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from arriero.agent.conversation import Change
from arriero.prompts import Message
from arriero.tools.threads import outcome

from .contents import Content, message_json, packed_tokens, put
from .eventlog import Noted, packed_events
from .writer import Writer


class Rows(NamedTuple):
    """Rows of one kind: the beginning of the statement that inserts them, and what follows the values.

    A value that is None or of type bytes or bool takes sqlite3 several times as long as another: columns that are
    mostly empty are left out where they are, bytes are given as bytearray.
    """

    into: str
    otherwise: str = ""


_MOST_ROWS: Final = 64  # of one statement: its parameters stay below the limit that SQLite had before 3.32
_ENTRY: Final = (
    "id, parent, session, run, step, kind, same_messages, same_tokens, messages, tokens, open, time"
)
_ENTRIES: Final = Rows(f"INSERT INTO entry ({_ENTRY})")
_REWOUND: Final = Rows(f"INSERT INTO entry ({_ENTRY}, turns)")


class Batch:
    """Notes of one run that are written together: the connection, and what they share.

    Rows are gathered and written in few statements: each statement lets other threads run meanwhile, and that costs
    more than the rows.
    """

    def __init__(self, db: sqlite3.Connection, run: str, session: str) -> None:
        self.db = db
        self.run = run
        self.session = session
        self._rows: defaultdict[Rows, list[tuple[Any, ...]]] = defaultdict(list)
        self._written: dict[int, bytes] = {}
        self._head: int | None = None
        self._next_entry = 0

    def insert(self, rows: Rows, row: tuple[Any, ...]) -> None:
        """Have a row inserted with others of its kind, at the end."""
        self._rows[rows].append(row)

    def messages(self, messages: Iterable[Message]) -> Content:
        """Keep messages; the answer of a call is told twice, of the call and of the conversation."""
        written, parts = self._written, []
        for message in messages:
            # Both are among the notes that are being written, so that no other object can have the id meanwhile.
            if id(message) not in written:
                written[id(message)] = message_json(message)
            parts.append(written[id(message)])
        return put(self.db, b"[%b]" % b",".join(parts))

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
            self.messages(change.messages) if change.messages else None,
            put(self.db, packed_tokens(change.tokens)) if change.tokens else None,
            int(is_open),
            now,
        )
        if turns is None:
            self.insert(_ENTRIES, row)
        else:
            self.insert(_REWOUND, (*row, turns))
        self._head = self._next_entry
        self._next_entry += 1

    def finish(self, events: Sequence[Noted]) -> None:
        """Write what the notes have left to be written at once, and what happened."""
        for rows, gathered in self._rows.items():
            self._insert(rows, gathered)
        if events:
            row = (self.run, events[0][1].seq, packed_events(events))
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


Note = Callable[[Batch], None]
"""Something that is to be written."""


class Notes:
    """The notes of one run and its events, each in order; they may be added from one thread while the writer takes
    them in its own.

    A job is on its way to the writer whenever there are any (``called``), so that they are committed as soon as any
    other job: whoever adds something calls for the writer unless that is so.
    """

    def __init__(self, writer: Writer, run: str, session: str) -> None:
        self.run = run
        self.session = session
        self.waiting: deque[Note] = deque()
        self.events: deque[Noted] = deque()
        self.called = False
        self._writer = writer

    def add(self, note: Note) -> None:
        """Have a note written soon."""
        self.waiting.append(note)
        if not self.called:
            self.call()

    def call(self) -> None:
        """Have what waits written soon."""
        self.called = True
        self._writer.put(_Taking(self))

    async def written(self, note: Note, *, durable: bool = False) -> None:
        """Have a note written now, behind all others; raises JournalError where it cannot be."""
        await outcome(self._writer.submit(_Taking(self, note), durable=durable))

    def take(self) -> tuple[list[Note], list[Noted]]:
        """All notes and events that wait."""
        # First this: whoever adds one now calls again, and one that was added before is among those taken. An event
        # is added before the notes of what it tells, and is taken after them: none of these is kept without it.
        self.called = False
        notes = [self.waiting.popleft() for _ in range(len(self.waiting))]
        return notes, [self.events.popleft() for _ in range(len(self.events))]


class _Taking:
    """A job that writes the notes that wait when it is done; done again after a fault, it writes the same ones."""

    __slots__ = ("_last", "_notes", "_taken")

    def __init__(self, notes: Notes, last: Note | None = None) -> None:
        self._notes = notes
        self._last = last
        self._taken: tuple[list[Note], list[Noted]] | None = None

    def __call__(self, db: sqlite3.Connection) -> None:
        if self._taken is None:
            self._taken = self._notes.take()
        notes, events = self._taken
        batch = Batch(db, self._notes.run, self._notes.session)
        for note in notes:
            note(batch)
        if self._last is not None:
            self._last(batch)
        batch.finish(events)
