"""Writes one run into a journal while it happens."""

import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from pydantic_core import to_json

from arriero.agent.backends import Model, Sampling
from arriero.agent.conversation import Change, Conversation
from arriero.agent.events import Event, RunFinished, ToolCallFinished
from arriero.agent.limits import Limits
from arriero.agent.recorder import Generated, JournalError, Recorder
from arriero.prompts import Message, ToolCall
from arriero.tools import Effect
from arriero.tools.threads import in_thread

from .contents import packed_tokens, put, utf8
from .identity import setup_of, template_hash, versions, weights_of
from .notes import Batch, Notes, Rows
from .writer import Writer

_TITLE: Final = 200
_GENERATION: Final = "run, number, prompt_tokens, seed, ids, texts, stop"
_GENERATIONS: Final = Rows(f"INSERT INTO generation ({_GENERATION})")
_BOUNDED: Final = Rows(f"INSERT INTO generation ({_GENERATION}, max_tokens)")
_SETTLED: Final = Rows(
    "INSERT INTO call (run, id, step, name, effect, state, arguments, answer, ok, seconds, started, ended)",
    "ON CONFLICT (run, id) DO UPDATE SET state=excluded.state, arguments=excluded.arguments, "
    "answer=excluded.answer, ok=excluded.ok, seconds=excluded.seconds, ended=excluded.ended",
)


class JournalRecorder(Recorder):
    """Keeps a run of ``conversation``, whose id is the session's.

    What is waited for: the beginning and the end of the run (its end reaches the disk, fsync), the intents of
    calls with effect ``once`` (reach the disk before the call starts), and their results. Everything else is
    committed within about 150 ms; losing it costs a step or a call that may be repeated, never an effect.
    """

    def __init__(self, writer: Writer, conversation: Conversation, run_id: str, model: Model) -> None:
        self._writer = writer
        self._conversation = conversation
        self._run_id = run_id
        self._model = model
        self._faults = writer.faults
        self._notes = Notes(writer, run_id, conversation.id)
        self._generations = 0
        self._calls_of = run_id
        self._begun: dict[str, _Intent] = {}
        self._held = False
        self._ended = False

    def seeded(self, sampling: Sampling) -> Sampling:
        if sampling.seed is not None:
            return sampling
        # Drawn here, so that the journal knows it and the run can be generated again.
        return replace(sampling, seed=secrets.randbits(31))

    async def begin(self, prompt: str | None, sampling: Sampling, limits: Limits) -> None:
        model, conversation, run_id = self._model, self._conversation, self._run_id
        weights = await in_thread(lambda: weights_of(model), name="arriero-weights")
        settings = json.dumps({"sampling": asdict(sampling), "limits": asdict(limits)})
        dialect, template = conversation.dialect.name, template_hash(conversation.dialect)
        session, name, now = conversation.id, model.name, time.time()
        setup, told = setup_of(conversation), utf8(prompt or "")
        title = told.decode()[:_TITLE]

        def note(batch: Batch) -> None:
            db = batch.db
            kept = put(db, setup)
            db.execute(
                "INSERT INTO session (id, title, setup, model, weights, created, updated) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET setup=excluded.setup, "
                "model=excluded.model, weights=excluded.weights, updated=excluded.updated, "
                "title=CASE title WHEN '' THEN excluded.title ELSE title END",
                (session, title, kept, name, weights, now, now),
            )
            db.execute(
                "INSERT INTO run (id, session, prompt, model, weights, dialect, template, settings, versions, "
                "started) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run_id,
                    session,
                    None if prompt is None else put(db, told),
                    name,
                    weights,
                    dialect,
                    template,
                    settings,
                    versions(),
                    now,
                ),
            )

        await self._notes.written(note)

    def adopt(self, run_id: str | None) -> None:
        self._calls_of = run_id or self._run_id

    def event(self, event: Event) -> None:
        notes = self._notes
        notes.events.append((time.time(), event))
        if not notes.called:
            notes.call()

    def keep(self, kind: str, step: int) -> None:
        self._check()
        conversation = self._conversation
        change = conversation.take_change()
        if change is None:
            return
        stopped = self._stopped() if kind == "results" else None
        self._begun.clear()
        turns = json.dumps([asdict(turn) for turn in conversation.turns]) if change.rewound else None
        self._notes.add(
            partial(_note_entry, change, kind, step, conversation.open, turns, time.time(), stopped)
        )

    def _stopped(self) -> tuple[str, str] | None:
        """Where a call may have begun that has not ended: its run, and as JSON the calls of which that is known."""
        if not self._begun and self._calls_of == self._run_id:
            return None
        pending = self._conversation.pending
        fates = pending.fates if pending else {}
        return self._calls_of, json.dumps([call_id for call_id, fate in fates.items() if fate == "unknown"])

    async def intend(self, call: ToolCall, step: int, effect: Effect) -> None:
        self._check()
        intent = self._begun[call.id] = _Intent(self._calls_of, call, step, effect, "intended")
        if effect == "once":
            await self._written(intent, durable=True)
        else:
            self._notes.add(intent)

    async def suspend(self, call: ToolCall, step: int, effect: Effect) -> None:
        self._check()
        intent = _Intent(self._calls_of, call, step, effect, "undecided")
        if effect == "once":
            await self._written(intent, durable=True)
        else:
            self._notes.add(intent)

    async def settle(
        self, call: ToolCall, answer: Message, finished: ToolCallFinished, effect: Effect
    ) -> None:
        self._check()
        intent = self._begun.get(call.id) or _Intent(self._calls_of, call, 0, effect, "")
        settled = _Settled(intent, answer, finished)
        if effect == "once":
            await self._written(settled)
        else:
            self._notes.add(settled)
            # In this order: where the intent is left out, the result is among the same notes.
            intent.settled = True
        self._begun.pop(call.id, None)

    async def end(self, finished: RunFinished) -> None:
        now, usage = time.time(), finished.usage.model_dump_json()

        def note(batch: Batch) -> None:
            batch.db.execute(
                "UPDATE run SET ended=?, stop_reason=?, error=?, usage=? WHERE id=?",
                (now, finished.stop_reason, finished.error, usage, batch.run),
            )
            batch.db.execute("UPDATE session SET updated=? WHERE id=?", (now, batch.session))

        self._ended = True
        await self._written(note, durable=True)

    def release(self) -> None:
        if self._ended:
            return
        with suppress(JournalError):
            self.keep("end", 0)
        now = time.time()

        def note(batch: Batch) -> None:
            batch.db.execute("UPDATE run SET ended=?, stop_reason='cancelled' WHERE id=?", (now, batch.run))

        self._notes.add(note)

    def heard(self, generated: Generated) -> None:
        constraint = generated.constraint
        if constraint is not None and constraint.answer is not None and not self._held:
            # The schema of answers is the same throughout a run.
            self._held = True
            self._notes.add(partial(_note_answer, _json(constraint.answer).decode()))
        self._generations += 1
        self._notes.add(partial(_note_generation, self._generations, generated))

    async def _written(self, note: Callable[[Batch], None], *, durable: bool = False) -> None:
        await self._notes.written(note, durable=durable)
        self._check()

    def _check(self) -> None:
        writer = self._writer
        if writer.faults != self._faults and writer.fault is not None:
            self._faults = writer.faults
            self._conversation.forget_change()
            raise writer.fault


class _Intent:
    """The note that a call is about to run, or waits for approval; nothing to write once it has come to its end."""

    __slots__ = ("call", "effect", "run", "settled", "started", "state", "step")

    def __init__(self, run: str, call: ToolCall, step: int, effect: Effect, state: str) -> None:
        self.run = run
        self.call = call
        self.step = step
        self.effect = effect
        self.state = state
        self.started = time.time()
        self.settled = False

    def __call__(self, batch: Batch) -> None:
        if self.settled:
            return
        batch.db.execute(
            "INSERT OR REPLACE INTO call (run, id, step, name, effect, state, arguments, started) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.run,
                self.call.id,
                self.step,
                self.call.name,
                self.effect,
                self.state,
                put(batch.db, _json(self.call.arguments)),
                self.started,
            ),
        )


class _Settled:
    """The note of what a call has come to."""

    __slots__ = ("answer", "ended", "finished", "intent")

    def __init__(self, intent: _Intent, answer: Message, finished: ToolCallFinished) -> None:
        self.intent = intent
        self.answer = answer
        self.finished = finished
        self.ended = time.time()

    def __call__(self, batch: Batch) -> None:
        db, intent, finished = batch.db, self.intent, self.finished
        batch.insert(
            _SETTLED,
            (
                intent.run,
                intent.call.id,
                intent.step,
                intent.call.name,
                intent.effect,
                "finished",
                put(db, _json(intent.call.arguments)),
                batch.messages([self.answer]),
                int(finished.ok),
                finished.seconds,
                intent.started,
                self.ended,
            ),
        )
        for number, one in enumerate(finished.artifacts):
            db.execute(
                "INSERT OR REPLACE INTO artifact (run, call, number, name, mime, content) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (intent.run, intent.call.id, number, one.name, one.mime, put(db, one.data)),
            )


def _note_entry(
    change: Change,
    kind: str,
    step: int,
    is_open: bool,
    turns: str | None,
    now: float,
    stopped: tuple[str, str] | None,
    batch: Batch,
) -> None:
    if stopped is not None:
        # Of a call that nobody has decided about, it stays unknown what it did.
        batch.db.execute(
            "UPDATE call SET state='stopped' WHERE run=? AND state='intended' "
            "AND id NOT IN (SELECT value FROM json_each(?))",
            stopped,
        )
    batch.entry(change, kind, step, is_open=is_open, turns=turns, now=now)


def _note_answer(schema: str, batch: Batch) -> None:
    batch.db.execute(
        "UPDATE run SET settings=json_set(settings, '$.answer', json(?)) WHERE id=?", (schema, batch.run)
    )


def _note_generation(number: int, generated: Generated, batch: Batch) -> None:
    row = (
        batch.run,
        number,
        generated.prompt_tokens,
        generated.seed,
        bytearray(packed_tokens(generated.ids)),
        bytearray(_json(generated.texts)),
        generated.stop,
    )
    if generated.max_tokens is None:
        batch.insert(_GENERATIONS, row)
    else:
        batch.insert(_BOUNDED, (*row, generated.max_tokens))


def _json(value: Any) -> bytes:
    try:
        return to_json(value, fallback=str)
    except ValueError:  # half of a surrogate pair has no UTF-8
        return utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))
