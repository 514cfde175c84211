"""The agent: a model, its instructions and tools, and the ways to run it."""

import asyncio
import queue
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date as Date
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from arriero.prompts import CODE_INTERPRETER, ArrieroError, Message
from arriero.prompts.dialects import get_dialect
from arriero.safety.pipeline import Pipeline
from arriero.safety.policy import Policy
from arriero.tools import Tool
from arriero.tools.function import as_tool

from .backends import Model, Sampling
from .calls import Approve
from .cancellation import CancellationToken
from .conversation import Conversation
from .events import Event, RunFinished, StopReason, Usage
from .limits import Limits
from .loop import Run
from .screening import Screening

DEFAULT_INSTRUCTIONS = "You are a helpful assistant."


class ConfigError(ArrieroError):
    """An agent was put together in a way that cannot work."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``output`` is the answer, or as much of it as there is; ``error`` says why it is not
    whole.
    """

    output: str
    messages: tuple[Message, ...]
    new_messages: tuple[Message, ...]
    usage: Usage
    stop_reason: StopReason
    run_id: str
    error: str | None = None


class Agent:
    """Drives a model through a conversation with tools.

    ``tools`` are Tool objects or plain functions with type hints. ``dialect`` names the wire form (default:
    the model's). ``date`` is written as today's date (default: today). ``deps`` is given to tools that ask for a
    ``RunContext``. ``approve(name, arguments)``, sync (in a thread) or async, decides calls that need approval:
    True runs the call, False refuses it and tells the model, None ends the run with ``"approval"``, as every
    such call does without ``approve``. ``guards`` screens the texts that come and go: a Policy, the name of a preset
    (``default``, ``strict``, ``off``), or None for ``off``. The blocking calls run in one background thread that
    ``close`` ends.
    Raises ConfigError for two tools of one name, UnknownDialect, PolicyError.
    """

    def __init__(
        self,
        model: Model,
        *,
        instructions: str = DEFAULT_INSTRUCTIONS,
        tools: Sequence[Tool | Callable[..., Any]] = (),
        limits: Limits | None = None,
        sampling: Sampling | None = None,
        dialect: str | None = None,
        date: Date | str | None = None,
        deps: Any = None,
        approve: Approve | None = None,
        guards: Policy | str | None = "default",
    ) -> None:
        self.model = model
        self.instructions = instructions
        self.tools = _by_name(tools)
        self.limits = limits or Limits()
        self.sampling = sampling or Sampling()
        self.dialect = get_dialect(dialect or model.dialect)
        self.date = date
        self.deps = deps
        self.approve = approve
        self.guards = Pipeline(guards if isinstance(guards, Policy) else Policy.preset(guards or "off"))
        self._portal: BlockingPortal | None = None
        self._close_portal: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def conversation(self) -> Conversation:
        """A new, empty conversation with this agent's instructions and tools."""
        instructions = self.instructions
        if self.tools and CODE_INTERPRETER not in self.tools:
            # A model trained on Python tools will write code unless it is told that nothing runs it.
            instructions = f"{instructions} Python is not available.".strip()
        specs = tuple(tool.spec for tool in self.tools.values())
        return Conversation(self.dialect, instructions, specs, self.date)

    async def stream(
        self,
        prompt: str,
        *,
        conversation: Conversation | None = None,
        cancel: CancellationToken | None = None,
        deps: Any = None,
    ) -> AsyncGenerator[Event, None]:
        """Run, and yield each event as it happens; the last is RunFinished.

        Without ``conversation`` the run starts from nothing. Cancelling ``cancel`` ends the run with what
        there is; closing the iterator ends it too. ``deps`` takes the place of the agent's for this run.
        """
        token = CancellationToken(cancel)
        conversation = conversation if conversation is not None else self.conversation()
        run = self._run(conversation, token, self.deps if deps is None else deps)
        timer = None
        if self.limits.max_seconds is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self.limits.max_seconds, token.cancel, "max_seconds")
        try:
            async with aclosing(run.events(prompt)) as events:
                async for event in events:
                    yield event
        finally:
            token.detach()
            if timer:
                timer.cancel()

    async def run(
        self,
        prompt: str,
        *,
        conversation: Conversation | None = None,
        cancel: CancellationToken | None = None,
        deps: Any = None,
    ) -> RunResult:
        """Run to the end. Faults of model and tools are in the result, not raised."""
        conversation = conversation if conversation is not None else self.conversation()
        async with aclosing(
            self.stream(prompt, conversation=conversation, cancel=cancel, deps=deps)
        ) as events:
            async for event in events:
                if isinstance(event, RunFinished):
                    return _result(event, conversation)
        raise AssertionError("a run always ends with RunFinished")

    def run_sync(
        self,
        prompt: str,
        *,
        conversation: Conversation | None = None,
        cancel: CancellationToken | None = None,
        deps: Any = None,
    ) -> RunResult:
        """``run`` for code that is not asynchronous."""
        conversation = conversation if conversation is not None else self.conversation()
        for event in self.stream_sync(prompt, conversation=conversation, cancel=cancel, deps=deps):
            if isinstance(event, RunFinished):
                return _result(event, conversation)
        raise AssertionError("a run always ends with RunFinished")

    def stream_sync(
        self,
        prompt: str,
        *,
        conversation: Conversation | None = None,
        cancel: CancellationToken | None = None,
        deps: Any = None,
    ) -> Iterator[Event]:
        """``stream`` for code that is not asynchronous; leaving the loop early stops the run."""
        token = CancellationToken(cancel)
        events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()

        async def pump() -> None:
            try:
                stream = self.stream(prompt, conversation=conversation, cancel=token, deps=deps)
                async with aclosing(stream):
                    async for event in stream:
                        events.put(event)
            except BaseException as fault:
                events.put(fault)
                raise
            finally:
                events.put(None)

        done = self._start_portal().start_task_soon(pump)
        try:
            while (event := events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            token.cancel()
            token.detach()
            done.exception()

    async def aclose(self) -> None:
        """Free the tools and the model; it is safe to call twice."""
        for tool in self.tools.values():
            await tool.aclose()
        await self.guards.aclose()
        await self.model.aclose()

    def close(self) -> None:
        """``aclose`` for code that is not asynchronous; ends the background thread."""
        self._start_portal().call(self.aclose)
        with self._lock:
            if self._close_portal:
                self._close_portal()
            self._portal = self._close_portal = None

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> "Agent":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def _run(self, conversation: Conversation, cancel: CancellationToken, deps: Any) -> Run:
        return Run(
            run_id=uuid.uuid4().hex,
            model=self.model,
            tools=self.tools,
            conversation=conversation,
            limits=self.limits,
            sampling=self.sampling,
            cancel=cancel,
            screening=Screening(
                self.guards, conversation, cancel, self.approve, retries=self.guards.policy.retries
            ),
            deps=deps,
            approve=self.approve,
        )

    def _start_portal(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None:
                manager = start_blocking_portal()
                self._portal = manager.__enter__()
                self._close_portal = lambda: manager.__exit__(None, None, None)
            return self._portal


def _by_name(tools: Sequence[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    named: dict[str, Tool] = {}
    for given in tools:
        one = given if isinstance(given, Tool) else as_tool(given)
        if one.name in named:
            raise ConfigError(f"two tools are called {one.name!r}; give one of them another name")
        named[one.name] = one
    return named


def _result(event: RunFinished, conversation: Conversation) -> RunResult:
    return RunResult(
        output=event.output,
        messages=tuple(conversation.messages),
        new_messages=event.new_messages,
        usage=event.usage,
        stop_reason=event.stop_reason,
        run_id=event.run_id,
        error=event.error,
    )
