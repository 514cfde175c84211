"""Writes one run into a journal while it happens."""

import json
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, replace
from typing import Any, Final

from pydantic_core import to_json

from arriero.agent.backends import Model, Sampling, Token
from arriero.agent.backends.base import Constraint
from arriero.agent.backends.wrapped import Wrapped
from arriero.agent.conversation import Conversation
from arriero.agent.events import Event, RunFinished, ToolCallFinished
from arriero.agent.limits import Limits
from arriero.agent.recorder import JournalError, Recorder
from arriero.prompts import Message, ToolCall
from arriero.tools import Effect
from arriero.tools.threads import in_thread

from .contents import packed_tokens, put, put_messages, utf8
from .identity import setup_of, template_hash, versions, weights_of
from .notes import Batch, Notes, Rows
from .writer import Writer

_TITLE: Final = 200
_GENERATIONS: Final = Rows(
    "INSERT INTO generation (run, number, prompt_tokens, seed, sampling, max_tokens, ids, texts, stop)"
)
_SETTLED: Final = Rows(
    "INSERT INTO call (run, id, step, name, effect, state, arguments, answer, ok, seconds, started, ended)",
    "ON CONFLICT (run, id) DO UPDATE SET state=excluded.state, arguments=excluded.arguments, "
    "answer=excluded.answer, ok=excluded.ok, seconds=excluded.seconds, ended=excluded.ended",
)


class JournalRecorder(Recorder):
    """Keeps a run of ``conversation``, whose id is the session's.

    What is waited for: the beginning and the end of the run (its end reaches the disk, fsync), the intents of
    calls with effect ``once`` (reach the disk before the call starts), and their results. Everything else is
    committed within about 60 ms; losing it costs a step or a call that may be repeated, never an effect.
    """

    def __init__(self, writer: Writer, conversation: Conversation, run_id: str, model: Model) -> None:
        self._writer = writer
        self._conversation = conversation
        self._run_id = run_id
        self._model = model
        self._faults = writer.faults
        self._notes = Notes(writer, run_id, conversation.id)
        self._generations = 0
        self._sampling: Sampling | None = None
        self._calls_of = run_id
        self._begun: dict[str, _Intent] = {}
        self._answer: Mapping[str, Any] | None = None
        self._ended = False

    def listen(self, model: Model) -> Model:
        return _Heard(model, self)

    async def begin(self, prompt: str | None, sampling: Sampling, limits: Limits) -> None:
        self._sampling = sampling
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
        self._notes.add((time.time(), event))

    def keep(self, kind: str, step: int) -> None:
        self._check()
        conversation = self._conversation
        change = conversation.take_change()
        if not change:
            return
        turns = json.dumps([asdict(turn) for turn in conversation.turns]) if change.rewound else None
        is_open, now = conversation.open, time.time()
        stopped: tuple[str, str] | None = None
        if kind == "results" and self._may_be_begun():
            fates = conversation.pending.fates if conversation.pending else {}
            unknown = [call_id for call_id, fate in fates.items() if fate == "unknown"]
            stopped = self._calls_of, json.dumps(unknown)
        self._begun.clear()

        def note(batch: Batch) -> None:
            if stopped is not None:
                # Of a call that nobody has decided about, it stays unknown what it did.
                batch.db.execute(
                    "UPDATE call SET state='stopped' WHERE run=? AND state='intended' "
                    "AND id NOT IN (SELECT value FROM json_each(?))",
                    stopped,
                )
            batch.entry(change, kind, step, is_open=is_open, turns=turns, now=now)

        self._notes.add(note)

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

    def held_to(self, answer: Mapping[str, Any]) -> None:
        """Keep the schema of answers, which is the same throughout a run."""
        if self._answer is not None:
            return
        self._answer, schema = answer, _json(answer).decode()

        def note(batch: Batch) -> None:
            batch.db.execute(
                "UPDATE run SET settings=json_set(settings, '$.answer', json(?)) WHERE id=?",
                (schema, batch.run),
            )

        self._notes.add(note)

    def heard(self, generated: "_Generated") -> None:
        """Keep what one call of the model brought."""
        self._generations += 1
        number = self._generations
        other = None if generated.same_as(self._sampling) else json.dumps(asdict(generated.sampling))

        def note(batch: Batch) -> None:
            batch.insert(
                _GENERATIONS,
                (
                    batch.run,
                    number,
                    generated.prompt_tokens,
                    generated.sampling.seed,
                    other,
                    generated.max_tokens,
                    packed_tokens(generated.ids),
                    _json(generated.texts),
                    generated.stop,
                ),
            )

        self._notes.add(note)

    def _may_be_begun(self) -> bool:
        """Whether a call may have begun and not ended; of an earlier run's that is not known here."""
        return bool(self._begun) or self._calls_of != self._run_id

    async def _written(self, note: Callable[[Batch], None], *, durable: bool = False) -> None:
        await self._notes.written(note, durable=durable)
        self._check()

    def _check(self) -> None:
        if self._writer.faults != self._faults and self._writer.fault is not None:
            self._faults = self._writer.faults
            self._conversation.forget_change()
            raise self._writer.fault


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
                put_messages(db, [self.answer]),
                finished.ok,
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


class _Generated:
    """What one call of the model was asked and brought."""

    __slots__ = ("asked", "ids", "max_tokens", "prompt_tokens", "sampling", "stop", "texts")

    def __init__(
        self, prompt_tokens: int, asked: Sampling, sampling: Sampling, max_tokens: int | None
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self.asked = asked
        self.sampling = sampling
        self.max_tokens = max_tokens
        self.ids: list[int] = []
        self.texts: list[str] = []
        self.stop: str | None = None

    def same_as(self, sampling: Sampling | None) -> bool:
        """Whether it was sampled as ``sampling`` says, but for the seed."""
        if self.asked is sampling:
            return True
        return sampling is not None and replace(sampling, seed=self.sampling.seed) == self.sampling


class _Heard(Wrapped):
    """A model whose tokens are kept; everything else about it is as it was."""

    def __init__(self, model: Model, recorder: JournalRecorder) -> None:
        super().__init__(model)
        self._recorder = recorder
        self._seeds = random.Random()  # noqa: S311 - nobody is to be kept from guessing them

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        asked = sampling
        if sampling.seed is None:
            # Drawn here, so that the journal knows it and the run can be generated again.
            sampling = replace(sampling, seed=self._seeds.getrandbits(31))
        if constraint is not None and constraint.answer is not None:
            self._recorder.held_to(constraint.answer)
        generated = _Generated(len(tokens), asked, sampling, max_tokens)
        ids, texts = generated.ids, generated.texts
        stream = self._model.generate(tokens, sampling, max_tokens=max_tokens, constraint=constraint)
        try:
            async with aclosing(stream):
                async for token in stream:
                    ids.append(token.id)
                    texts.append(token.text)
                    generated.stop = token.stop
                    yield token
        finally:
            self._recorder.heard(generated)


def _json(value: Any) -> bytes:
    try:
        return to_json(value, fallback=str)
    except ValueError:  # half of a surrogate pair has no UTF-8
        return utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))
