"""The agent: a model, its instructions and tools, and the ways to run it."""

import asyncio
import os
import queue
import threading
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import date as Date
from typing import TYPE_CHECKING, Any, Generic, Self, Unpack

from arriero.prompts import CODE_INTERPRETER, ArrieroError
from arriero.prompts.dialects import get_dialect
from arriero.safety.pipeline import Pipeline
from arriero.safety.policy import Policy
from arriero.tools import Tool
from arriero.tools.function import as_tool
from arriero.tools.threads import end_idle_threads, in_thread

from .approval import Approve
from .attempts import Attempts
from .backends import Model, Sampling
from .background import BackgroundLoop
from .cancellation import CancellationToken
from .context import ContextPolicy
from .conversation import Conversation
from .events import Event, RunFinished
from .files import with_files
from .guard_models import pipeline
from .limits import Limits
from .loop import drive
from .output import Output
from .recorder import Recorder
from .result import DepsT, OutputT, RunOptions, RunResult, result_of
from .run import Hook, Run
from .screening import Screening
from .subagent import AgentTool
from .telemetry import Telemetry, telemetry

if TYPE_CHECKING:
    from .journal import Journal, Session

DEFAULT_INSTRUCTIONS = "You are a helpful assistant."


class ConfigError(ArrieroError):
    """An agent was put together in a way that cannot work."""


class Agent(Generic[OutputT, DepsT]):
    """Drives a model through a conversation with tools.

    ``model`` is a model object, or what ``open_model`` takes: ``bundled``, a name, a path, an address.
    ``tools`` are Tool objects or plain functions with type hints. ``dialect`` names the wire form (default:
    the model's). ``date`` is written as today's date (default: today). ``deps`` is given to tools that ask for a
    ``RunContext``; with ``deps_type``, a class, nothing else is taken. ``approve(name, arguments)``, sync (in a
    thread) or async, decides calls that need approval: True runs the call, Edited runs it with other arguments,
    False or Refused refuses it, of which the model is told, None ends the run with ``"approval"``, as every such
    call does without ``approve``. ``guards`` screens the texts that come and go: a Policy, the name of a preset
    (``default``, ``strict``, ``off``) or of a TOML file, None for ``off``, or a Pipeline that several agents share.
    The blocking calls run in one background thread that ``close`` ends.
    ``hooks`` are callables that are given every event as it happens, in the loop's thread; one that raises is logged.
    ``context`` says what becomes of a conversation that fills the model's context (default: the run ends).
    ``session``, a Session or its name, is what runs go on with; it is kept in ``journal``, a Journal or a path
    (default: the user's, once a session is named). With ``journal`` alone every run is kept, each in a session
    of its own; with neither nothing is written to disk.
    ``output_type``, a pydantic model or another type that pydantic adapts, is what an answer must be: a JSON document
    of its schema, after whatever tools were called. A model that constrains cannot write another; any other one is
    told what is wrong and asked again, ``limits.max_retries`` times.
    Raises ConfigError for two tools of one name and deps of another type, UnknownDialect, PolicyError, OutputError.
    """

    def __init__(
        self,
        model: "Model | str | os.PathLike[str]",
        *,
        instructions: str = DEFAULT_INSTRUCTIONS,
        tools: Sequence[Tool | Callable[..., Any]] = (),
        limits: Limits | None = None,
        sampling: Sampling | None = None,
        dialect: str | None = None,
        date: Date | str | None = None,
        deps: DepsT | None = None,
        deps_type: type[DepsT] | None = None,
        approve: Approve | None = None,
        guards: Pipeline | Policy | str | None = "default",
        output_type: type[OutputT] | None = None,
        context: ContextPolicy | None = None,
        hooks: Sequence[Hook] = (),
        session: "Session | str | None" = None,
        journal: "Journal | str | os.PathLike[str] | None" = None,
    ) -> None:
        self.model = model = self.model_of(model)
        self.output: Output[OutputT] | None = _output(output_type)
        self.instructions = instructions
        self.tools = _by_name(tools)
        self.limits = limits or Limits()
        self.sampling = sampling or Sampling()
        self.dialect = get_dialect(dialect or model.dialect)
        self.date = date
        self.deps_type = deps_type
        self.deps = self._checked(deps)
        self.approve = approve
        self.context = context
        traced = telemetry()
        self.hooks: tuple[Hook, ...] = (*hooks, *((traced,) if traced else ()))
        self.guards = guards if isinstance(guards, Pipeline) else pipeline(guards or "off")
        self.journal, self.session, self._own_journal = _kept_where(journal, session)
        self._background: BackgroundLoop | None = None
        self._lock = threading.Lock()

    @staticmethod
    def model_of(model: "Model | str | os.PathLike[str]") -> Model:
        """The model that a name, a path or an address means; a model object as it is. Raises ModelError."""
        if not isinstance(model, str | os.PathLike):
            return model
        from .store import open_model

        return open_model(os.fspath(model))

    def conversation(self) -> Conversation:
        """A new, empty conversation with this agent's instructions and tools."""
        instructions = self.instructions
        if self.tools and CODE_INTERPRETER not in self.tools:
            # A model trained on Python tools will write code unless it is told that nothing runs it.
            instructions = f"{instructions} Python is not available.".strip()
        if self.output:
            instructions = f"{instructions}\n\n{self.output.instructions}".strip()
        specs = tuple(tool.spec for tool in self.tools.values())
        return Conversation(self.dialect, instructions, specs, self.date)

    def as_tool(self, name: str, description: str) -> "AgentTool":
        """This agent as a tool of another: it takes a ``task`` and answers with what the agent says."""
        return AgentTool(self, name, description)

    async def stream(
        self, prompt: str | None = None, **options: Unpack[RunOptions[DepsT]]
    ) -> AsyncGenerator[Event, None]:
        """Run, and yield each event as it happens; the last is RunFinished.

        Without a prompt the run goes on with what is unfinished in the conversation: calls that wait for a
        decision, or that were in flight when a program ended. Closing the iterator ends the run. Raises
        ConfigError where the conversation is in a run already or deps are of another type, JournalError for a
        session that cannot be had.
        """
        conversation = await self._conversation_of(options)
        if conversation.busy:
            raise ConfigError(
                "this conversation is in a run already; wait for it, or give the run another one"
            )
        self._checked(options.get("deps"))
        token = CancellationToken(options.get("cancel"))
        run = self._run(conversation, token, options)
        timer = None
        if run.limits.max_seconds is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(run.limits.max_seconds, token.cancel, "max_seconds")
        conversation.busy = True
        try:
            given = with_files(prompt, options.get("files") or ())
            with run.waits:
                async with aclosing(drive(run, given)) as events:
                    async for event in events:
                        yield event
        finally:
            conversation.busy = False
            token.detach()
            if timer:
                timer.cancel()
            run.recorder.release()
            for hook in run.hooks:
                if isinstance(hook, Telemetry):
                    hook.forget(run.run_id)

    async def run(
        self, prompt: str | None = None, **options: Unpack[RunOptions[DepsT]]
    ) -> RunResult[OutputT]:
        """Run to the end. Faults of model and tools are in the result, not raised; see ``stream`` for the rest."""
        conversation = options["conversation"] = await self._conversation_of(options)
        async with aclosing(self.stream(prompt, **options)) as events:
            async for event in events:
                if isinstance(event, RunFinished):
                    return result_of(event, conversation, self.output)
        raise AssertionError("a run always ends with RunFinished")

    def run_sync(self, prompt: str | None = None, **options: Unpack[RunOptions[DepsT]]) -> RunResult[OutputT]:
        """``run`` for code that is not asynchronous."""
        token = options["cancel"] = CancellationToken(options.get("cancel"))
        done = self._in_background().start(self.run(prompt, **options))
        try:
            return done.result()
        finally:
            token.cancel()
            token.detach()
            done.exception()  # whatever interrupts this, the run comes to its end first

    def stream_sync(self, prompt: str | None = None, **options: Unpack[RunOptions[DepsT]]) -> Iterator[Event]:
        """``stream`` for code that is not asynchronous; leaving the loop early stops the run."""
        token = options["cancel"] = CancellationToken(options.get("cancel"))
        events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()

        async def pump() -> None:
            try:
                stream = self.stream(prompt, **options)
                async with aclosing(stream):
                    async for event in stream:
                        events.put(event)
            except BaseException as fault:
                events.put(fault)
                raise
            finally:
                events.put(None)

        done = self._in_background().start(pump())
        try:
            while (event := events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            token.cancel()
            token.detach()
            done.exception()

    async def map(
        self,
        tasks: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int = 4,
        **options: Unpack[RunOptions[DepsT]],
    ) -> AsyncGenerator[RunResult[OutputT], None]:
        """Run many tasks, ``concurrency`` at a time, each in a conversation of its own; results come in the order
        of the tasks, as soon as they and those before them are there.

        Tasks are taken from the iterator as places become free, so it may be endless. Leaving the loop stops what
        runs. Raises ConfigError for ``conversation`` among the options, or a concurrency below 1.
        """
        if concurrency < 1 or options.get("conversation") is not None:
            raise ConfigError(
                "map needs a concurrency of 1 or more, and gives each task its own conversation"
            )
        waiting: deque[asyncio.Task[RunResult[OutputT]]] = deque()
        try:
            async with aclosing(_each(tasks)) as coming:
                async for task in coming:
                    alone = RunOptions[DepsT](**{**options, "conversation": self.conversation()})
                    waiting.append(asyncio.create_task(self.run(task, **alone)))
                    while len(waiting) >= concurrency and not _place(waiting, concurrency):
                        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                        while waiting and waiting[0].done():
                            yield waiting.popleft().result()
                    while waiting and waiting[0].done():
                        yield waiting.popleft().result()
            while waiting:
                await asyncio.wait({waiting[0]})
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def map_sync(
        self, tasks: Iterable[str], *, concurrency: int = 4, **options: Unpack[RunOptions[DepsT]]
    ) -> list[RunResult[OutputT]]:
        """``map`` for code that is not asynchronous: all results, in the order of the tasks."""

        async def collect() -> list[RunResult[OutputT]]:
            return [result async for result in self.map(tasks, concurrency=concurrency, **options)]

        return self._in_background().call(collect())

    async def aclose(self) -> None:
        """Free the tools and the model; it is safe to call twice."""
        async with AsyncExitStack() as last_first:  # whatever one of them raises, the others are freed
            last_first.callback(end_idle_threads)
            if self._own_journal and self.journal is not None:
                last_first.push_async_callback(in_thread, self.journal.close, name="journal")
            if self.session is not None:
                last_first.callback(self.session.close)
            last_first.push_async_callback(self.model.aclose)
            last_first.push_async_callback(self.guards.aclose)
            for tool in self.tools.values():
                last_first.push_async_callback(tool.aclose)

    def close(self) -> None:
        """``aclose`` for code that is not asynchronous; ends the background thread."""
        try:
            self._in_background().call(self.aclose())
        finally:
            with self._lock:
                if self._background:
                    self._background.close()
                self._background = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def _conversation_of(self, options: RunOptions[DepsT]) -> Conversation:
        given = options.get("conversation")
        if given is not None:
            return given
        if self.session is None:
            return self.conversation()
        session = self.session
        if session.conversation is not None:
            return session.conversation
        return await in_thread(lambda: session.open(self), name="session")

    def _run(self, conversation: Conversation, cancel: CancellationToken, options: RunOptions[DepsT]) -> Run:
        run_id = uuid.uuid4().hex
        journal = self.journal
        recorder = journal.recorder(conversation, run_id, self.model) if journal else Recorder()
        deps = options.get("deps")
        sampling = recorder.seeded(self.sampling)
        return Run(
            run_id=run_id,
            model=self.model,
            tools=self.tools,
            conversation=conversation,
            limits=options.get("limits") or self.limits,
            sampling=sampling,
            cancel=cancel,
            screening=Screening(
                self.guards, conversation, cancel, self.approve, retries=self.guards.policy.retries
            ),
            deps=self.deps if deps is None else deps,
            approve=self.approve,
            recorder=recorder,
            hooks=self.hooks,
            context=self.context,
            decisions=options.get("decisions") or {},
            attempts=Attempts(self.model, self.tools, self.limits, sampling, self.output),
        )

    def _checked(self, deps: DepsT | None) -> DepsT | None:
        """The dependencies, if they are what tools were promised. Raises ConfigError."""
        kind = self.deps_type
        if deps is None or kind is None or isinstance(deps, kind):
            return deps
        raise ConfigError(f"deps should be of {kind.__name__}, and are of {type(deps).__name__}")

    def _in_background(self) -> BackgroundLoop:
        with self._lock:
            if self._background is None:
                self._background = BackgroundLoop()
            return self._background


async def _each(tasks: Iterable[str] | AsyncIterable[str]) -> AsyncGenerator[str, None]:
    if isinstance(tasks, AsyncIterable):
        async for task in tasks:
            yield task
    else:
        for task in tasks:
            yield task


def _place(tasks: Iterable["asyncio.Task[RunResult[OutputT]]"], concurrency: int) -> bool:
    return sum(not task.done() for task in tasks) < concurrency


def _kept_where(
    journal: "Journal | str | os.PathLike[str] | None", session: "Session | str | None"
) -> "tuple[Journal | None, Session | None, bool]":
    """The journal, the session, and whether the journal is the agent's to close."""
    if journal is None and session is None:
        return None, None, False
    from .journal import Journal, Session

    if isinstance(session, Session):
        if journal is not None and journal is not session.journal:
            raise ConfigError("the session is kept in a journal of its own; leave journal out")
        return session.journal, session, False
    own = not isinstance(journal, Journal)
    kept = journal if isinstance(journal, Journal) else Journal(journal)
    return kept, None if session is None else Session(session, journal=kept), own


def _by_name(tools: Sequence[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    named: dict[str, Tool] = {}
    for given in tools:
        one = given if isinstance(given, Tool) else as_tool(given)
        if one.name in named:
            raise ConfigError(f"two tools are called {one.name!r}; give one of them another name")
        named[one.name] = one
    return named


def _output(kind: type[OutputT] | None) -> Output[OutputT] | None:
    return None if kind is None or kind is str else Output(kind)
