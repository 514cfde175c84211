"""Writes one run into a journal while it happens."""

import json
import secrets
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from arriero.agent.backends import Model, Sampling, Token
from arriero.agent.backends.base import Constraint
from arriero.agent.backends.wrapped import Wrapped
from arriero.agent.conversation import Change, Conversation
from arriero.agent.events import Event, RunFinished, ToolCallFinished
from arriero.agent.limits import Limits
from arriero.agent.recorder import JournalError, Recorder
from arriero.prompts import Message, ToolCall
from arriero.tools import Effect
from arriero.tools.threads import in_thread, outcome

from .contents import packed_tokens, put, put_messages, put_tokens, utf8
from .eventlog import Noted, packed_lines
from .identity import setup_of, template_hash, versions, weights_of
from .writer import Writer

if TYPE_CHECKING:
    pass

_TITLE: Final = 200
_MOST_EVENTS: Final = 256
_LONGEST: Final = 0.05
"""Seconds that events may wait in memory for others before they go to the writer."""


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
        self._events: list[Noted] = []
        self._since = 0.0
        self._generations = 0
        self._sampling: Sampling | None = None
        self._calls_of = run_id
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

        def job(db: sqlite3.Connection) -> None:
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

        await outcome(self._writer.submit(job))

    def adopt(self, run_id: str | None) -> None:
        self._calls_of = run_id or self._run_id

    def event(self, event: Event) -> None:
        now = time.time()
        events = self._events
        if not events:
            self._since = now
        events.append((now, event))
        # A clock that is put back must not hold events up either.
        if len(events) >= _MOST_EVENTS or not 0 <= now - self._since < _LONGEST:
            self._flush()

    def keep(self, kind: str, step: int) -> None:
        self._check()
        conversation = self._conversation
        change = conversation.take_change()
        if not change:
            return
        turns = json.dumps([asdict(turn) for turn in conversation.turns]) if change.rewound else None
        run_id, session, is_open, now = self._run_id, conversation.id, conversation.open, time.time()
        stopped = self._calls_of if kind == "results" else None
        self._flush()

        def job(db: sqlite3.Connection) -> None:
            if stopped is not None:
                db.execute("UPDATE call SET state='stopped' WHERE run=? AND state='intended'", (stopped,))
            append_entry(db, change, kind, session=session, run=run_id, step=step, is_open=is_open,
                         turns=turns, now=now)  # fmt: skip

        self._writer.put(job)

    async def intend(self, call: ToolCall, step: int, effect: Effect) -> None:
        await self._begun(call, step, effect, "intended")

    async def suspend(self, call: ToolCall, step: int, effect: Effect) -> None:
        await self._begun(call, step, effect, "undecided")

    async def settle(
        self, call: ToolCall, answer: Message, finished: ToolCallFinished, effect: Effect
    ) -> None:
        self._check()
        run_id, now = self._calls_of, time.time()
        self._flush()

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO call (run, id, step, name, effect, state, arguments, answer, ok, seconds, started, "
                "ended) VALUES (?, ?, 0, ?, ?, 'finished', ?, ?, ?, ?, ?, ?) ON CONFLICT (run, id) DO UPDATE SET "
                "state='finished', answer=excluded.answer, ok=excluded.ok, seconds=excluded.seconds, "
                "ended=excluded.ended",
                (
                    run_id,
                    call.id,
                    call.name,
                    effect,
                    put(db, _json(call.arguments)),
                    put_messages(db, [answer]),
                    finished.ok,
                    finished.seconds,
                    now,
                    now,
                ),
            )
            for number, one in enumerate(finished.artifacts):
                db.execute(
                    "INSERT OR REPLACE INTO artifact (run, call, number, name, mime, content) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (run_id, call.id, number, one.name, one.mime, put(db, one.data)),
                )

        await self._written(job, wait=effect == "once")

    async def end(self, finished: RunFinished) -> None:
        self._flush()
        run_id, now = self._run_id, time.time()
        usage, session = finished.usage.model_dump_json(), self._conversation.id

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE run SET ended=?, stop_reason=?, error=?, usage=? WHERE id=?",
                (now, finished.stop_reason, finished.error, usage, run_id),
            )
            db.execute("UPDATE session SET updated=? WHERE id=?", (now, session))

        self._ended = True
        await outcome(self._writer.submit(job, durable=True))
        self._check()

    def release(self) -> None:
        if self._ended:
            return
        with suppress(JournalError):
            self.keep("end", 0)
        self._flush()
        run_id, now = self._run_id, time.time()

        def job(db: sqlite3.Connection) -> None:
            db.execute("UPDATE run SET ended=?, stop_reason='cancelled' WHERE id=?", (now, run_id))

        self._writer.put(job)

    def heard(self, generated: "_Generated") -> None:
        """Keep what one call of the model brought."""
        self._generations += 1
        number, run_id = self._generations, self._run_id
        other = None if generated.same_as(self._sampling) else json.dumps(asdict(generated.sampling))

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO generation (run, number, prompt_tokens, seed, sampling, max_tokens, ids, texts, stop) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run_id,
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

        self._writer.put(job)

    async def _begun(self, call: ToolCall, step: int, effect: Effect, state: str) -> None:
        self._check()
        run_id, now = self._calls_of, time.time()
        self._flush()

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO call (run, id, step, name, effect, state, arguments, started) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (run_id, call.id, step, call.name, effect, state, put(db, _json(call.arguments)), now),
            )

        wait = effect == "once"
        await self._written(job, wait=wait, durable=wait)

    async def _written(self, job: Any, *, wait: bool, durable: bool = False) -> None:
        if wait:
            await outcome(self._writer.submit(job, durable=durable))
            self._check()
        else:
            self._writer.put(job)

    def _flush(self) -> None:
        if not self._events:
            return
        events, self._events = self._events, []
        run_id = self._run_id

        def job(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO event VALUES (?, ?, ?)", (run_id, events[0][1].seq, packed_lines(events)))

        self._writer.put(job)

    def _check(self) -> None:
        if self._writer.faults != self._faults and self._writer.fault is not None:
            self._faults = self._writer.faults
            self._conversation.forget_change()
            raise self._writer.fault


def append_entry(
    db: sqlite3.Connection,
    change: Change,
    kind: str,
    *,
    session: str,
    run: str,
    step: int,
    is_open: bool,
    turns: str | None,
    now: float,
) -> None:
    """Put a change behind what the session has, and make it the session's head."""
    made = db.execute(
        "INSERT INTO entry (parent, session, run, step, kind, same_messages, same_tokens, messages, tokens, open, "
        "turns, time) SELECT head, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM session WHERE id=?",
        (
            session,
            run,
            step,
            kind,
            change.same_messages,
            change.same_tokens,
            put_messages(db, change.messages),
            put_tokens(db, change.tokens),
            is_open,
            turns,
            now,
            session,
        ),
    )
    db.execute("UPDATE session SET head=? WHERE id=?", (made.lastrowid, session))


class _Generated:
    """What one call of the model was asked and brought."""

    __slots__ = ("ids", "max_tokens", "prompt_tokens", "sampling", "stop", "texts")

    def __init__(self, prompt_tokens: int, sampling: Sampling, max_tokens: int | None) -> None:
        self.prompt_tokens = prompt_tokens
        self.sampling = sampling
        self.max_tokens = max_tokens
        self.ids: list[int] = []
        self.texts: list[str] = []
        self.stop: str | None = None

    def same_as(self, sampling: Sampling | None) -> bool:
        return sampling is not None and replace(sampling, seed=self.sampling.seed) == self.sampling


class _Heard(Wrapped):
    """A model whose tokens are kept; everything else about it is as it was."""

    def __init__(self, model: Model, recorder: JournalRecorder) -> None:
        super().__init__(model)
        self._recorder = recorder

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        if sampling.seed is None:
            # Drawn here, so that the journal knows it and the run can be generated again.
            sampling = replace(sampling, seed=secrets.randbits(31))
        generated = _Generated(len(tokens), sampling, max_tokens)
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
    return utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))
