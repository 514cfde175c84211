"""From rows back to a conversation, with the calls that nobody finished."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arriero.agent.conversation import Conversation
from arriero.agent.pending import Fate, Mark, Pending
from arriero.prompts import Message, ToolSpec
from arriero.prompts.dialects import get_dialect

from .contents import Content, get, get_messages, get_tokens

_FATES: dict[str, Fate] = {"intended": "unknown", "undecided": "undecided"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One addition to a session: a ``turn`` (what a user said), a ``step`` (what the model wrote), ``results`` of
    calls, ``compacted``, or ``rewound`` to go on with calls. ``number`` counts from 1 along the session; forks are
    made at it.
    """

    number: int
    id: int
    kind: str
    run_id: str
    step: int
    same_messages: int
    same_tokens: int
    messages: tuple[Message, ...]
    tokens: tuple[int, ...]
    open: bool
    turns: tuple[Mark, ...] | None
    time: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A message of a session, and the number of the first entry that has it there.

    ``cut_off`` says that the model was stopped while it wrote it.
    """

    number: int
    message: Message
    cut_off: bool


def chain(db: sqlite3.Connection, head: int | None) -> list[Entry]:
    """The entries that lead to ``head``, oldest first."""
    rows = db.execute(
        "WITH RECURSIVE back (id, depth) AS (SELECT ?, 0 UNION ALL SELECT entry.parent, depth + 1 FROM back "
        "JOIN entry ON entry.id = back.id WHERE entry.parent IS NOT NULL) "
        "SELECT entry.id, kind, run, step, same_messages, same_tokens, messages, tokens, open, turns, time "
        "FROM back JOIN entry ON entry.id = back.id ORDER BY depth DESC",
        (head,),
    )
    return [
        Entry(
            number=number,
            id=row[0],
            kind=row[1],
            run_id=row[2],
            step=row[3],
            same_messages=row[4],
            same_tokens=row[5],
            messages=get_messages(db, row[6]),
            tokens=tuple(get_tokens(db, row[7])),
            open=bool(row[8]),
            turns=None if row[9] is None else tuple(Mark(**mark) for mark in json.loads(row[9])),
            time=row[10],
        )
        for number, row in enumerate(rows.fetchall(), 1)
    ]


def standing(entries: Sequence[Entry]) -> list[Standing]:
    """The messages that were not taken back, in order."""
    found: list[Standing] = []
    for entry in entries:
        before, found = found, found[: entry.same_messages]
        for message in entry.messages:
            place = len(found)
            same = place < len(before) and before[place].message == message
            cut_off = entry.kind == "step" and entry.open
            found.append(before[place] if same else Standing(entry.number, message, cut_off))
    return found


def conversation_of(
    db: sqlite3.Connection, session: str, setup: dict[str, Any], entries: list[Entry]
) -> Conversation:
    """The conversation as it was after the last of ``entries``; nothing of it is evaluated yet."""
    conversation = Conversation(
        get_dialect(setup["dialect"]),
        setup["instructions"],
        tuple(ToolSpec(**spec) for spec in setup["tools"]),
        setup["date"],
        id=session,
    )
    before = conversation.mark()
    for entry in entries:
        before = _apply(conversation, entry)
    conversation.take_change()
    if entries:
        conversation.pending = _pending(db, conversation, entries, before)
    return conversation


def setup_from(db: sqlite3.Connection, content: Content) -> dict[str, Any]:
    """What ``setup_of`` wrote."""
    setup: dict[str, Any] = json.loads(get(db, content))
    return setup


def _apply(conversation: Conversation, entry: Entry) -> Mark:
    if entry.same_messages < len(conversation.messages) or entry.same_tokens < len(conversation.tokens):
        conversation.rewind(Mark(entry.same_messages, entry.same_tokens, 0, False))
    if entry.turns is not None:
        conversation.turns = list(entry.turns)
    before = conversation.mark()
    if entry.kind == "turn" and entry.turns is None:
        conversation.turns.append(before)
    conversation.messages += entry.messages
    conversation.tokens += entry.tokens
    conversation.open = entry.open
    return before


def _pending(
    db: sqlite3.Connection, conversation: Conversation, entries: list[Entry], before: Mark
) -> Pending | None:
    last, mark = entries[-1], conversation.mark()
    told = _asked(db, last.run_id) if last.kind == "results" else None
    if told is not None or last.kind == "rewound":
        mark = mark if told is None else before
        last = next((entry for entry in reversed(entries) if entry.kind == "step"), last)
    if last.kind != "step" or not last.messages or not last.messages[-1].tool_calls:
        return None
    calls = {call.id: call for call in last.messages[-1].tool_calls}
    answers: dict[str, Message] = {}
    fates: dict[str, Fate] = dict.fromkeys(calls, "unrun")
    edited: list[str] = []
    rows = db.execute("SELECT id, state, answer, arguments FROM call WHERE run=?", (last.run_id,))
    for call_id, state, answer, arguments in rows.fetchall():
        if call_id not in fates:
            continue
        if state == "finished":
            answers[call_id] = get_messages(db, answer)[0]
            del fates[call_id]
        elif state in _FATES:
            fates[call_id] = _FATES[state]
            kept = calls[call_id].model_copy(update={"arguments": json.loads(get(db, arguments))})
            if kept.model_dump_json() != calls[call_id].model_dump_json():
                edited.append(call_id)
                calls[call_id] = kept
    return Pending(
        run_id=last.run_id,
        step=last.step,
        mark=mark,
        calls=tuple(calls.values()),
        answers=answers,
        fates=fates,
        edited=tuple(edited),
        told=told or "",
    )


def _asked(db: sqlite3.Connection, run_id: str) -> str | None:
    """What a run said as it ended to have a call approved; None where it did not end so."""
    row = db.execute("SELECT error FROM run WHERE id=? AND stop_reason='approval'", (run_id,)).fetchone()
    return None if row is None else row[0] or ""
