"""The loop: user text in, steps of the model and its tools, events out."""

import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from arriero.prompts import ArrieroError, Message, ToolCall
from arriero.prompts.parser import ArgumentsDelta, ParseEvent, TextDelta
from arriero.tools import Tool

from . import events as ev
from .backends import ContextOverflow, Model, Sampling
from .calls import Approve, Repeats, Served, Service, serve
from .cancellation import CancellationToken, RunCancelled
from .conversation import Conversation
from .limits import Limits
from .step import Step, sample

log = logging.getLogger(__name__)

_MALFORMED = "Error: the call could not be read: {reason} Write it again, complete and in the given format."
E = TypeVar("E", bound=ev.Event)
_UNRUN = "Error: the call was not run, because the run ended before it."
_STOPPED = "Error when running tool: it was stopped before it ended."


class Ended(Exception):
    """Leaves the loop from wherever it is, with the reason."""

    def __init__(self, reason: ev.StopReason, error: str) -> None:
        super().__init__(error)
        self.reason = reason


@dataclass(slots=True)
class Run:
    """One run of an agent over a conversation; iterate ``events`` once."""

    run_id: str
    model: Model
    tools: Mapping[str, Tool]
    conversation: Conversation
    limits: Limits
    sampling: Sampling
    cancel: CancellationToken
    deps: Any = None
    approve: Approve | None = None
    output: str = ""
    steps: int = 0
    usage: ev.Usage = field(default_factory=ev.Usage)
    _seq: int = 0
    _continues: bool = False

    async def events(self, prompt: str) -> AsyncGenerator[ev.Event, None]:
        """Run until an answer or a limit; the last event is always RunFinished, and nothing is raised."""
        started = time.monotonic()
        first = len(self.conversation.messages)
        reason: ev.StopReason = "final"
        error: str | None = None
        yield self._event(ev.RunStarted, model=self.model.name, tools=tuple(self.tools))
        try:
            async with aclosing(self._converse(prompt)) as events:
                async for event in events:
                    yield event
        except Ended as end:
            reason, error = end.reason, str(end)
        except RunCancelled as stop:
            reason = "max_seconds" if str(stop) == "max_seconds" else "cancelled"
        except ContextOverflow as overflow:
            reason, error = "max_tokens", str(overflow)
            if self.steps <= 1:
                # Nothing was answered; without this every later turn would overflow too.
                self.conversation.undo()
        except ArrieroError as fault:
            reason, error = "error", str(fault)
        except Exception as fault:
            log.exception("run %s failed", self.run_id)
            reason, error = "error", f"{type(fault).__name__}: {fault}"
        self._count(seconds=time.monotonic() - started)
        yield self._event(
            ev.RunFinished,
            stop_reason=reason,
            output=self.output,
            error=error,
            new_messages=tuple(self.conversation.messages[first:]),
            usage=self.usage,
        )

    async def _converse(self, prompt: str) -> AsyncGenerator[ev.Event, None]:
        """User text → steps → answer."""
        repeats = Repeats(self.limits.max_repeats)
        self.conversation.begin_turn(Message(role="user", content=prompt), self.model)
        while True:
            step = Step(self._next_step())
            async with aclosing(self._write(step)) as events:
                async for event in events:
                    yield event
            if step.end == "length":
                raise Ended("max_tokens", "the answer was cut off at the limit of tokens")
            if step.calls:
                async with aclosing(self._serve(step.calls, repeats)) as events:
                    async for event in events:
                        yield event
            elif step.malformed:
                reason = step.malformed[0].reason
                yield self._event(ev.ModelRetried, reason=reason)
                told = Message(role="ipython", content=_MALFORMED.format(reason=reason))
                self.conversation.append([told], self.model)
            elif self._continues:
                # The model ends a message and not its turn without asking for a tool: it wants to go on.
                self.conversation.append([], self.model)
            else:
                return

    async def _write(self, step: Step) -> AsyncGenerator[ev.Event, None]:
        """One message of the model: header, tokens, what they mean."""
        conversation = self.conversation
        conversation.begin_answer(self.model)
        step.prompt_tokens = len(conversation.tokens) - conversation.evaluated
        yield self._event(
            ev.StepStarted,
            step=step.number,
            context_tokens=len(conversation.tokens),
            new_tokens=step.prompt_tokens,
            context_length=self.model.context_length,
        )
        specs = [tool.spec for tool in self.tools.values()]
        parsed = sample(
            step, self.model, conversation, specs, self.sampling, self._tokens_left(), self.cancel
        )
        stopped: RunCancelled | None = None
        before = self.output if self._continues else ""
        try:
            async with aclosing(parsed):
                async for found in parsed:
                    if event := self._found(found):
                        yield event
        except RunCancelled as stop:
            stopped = stop
        finally:
            self._count(step)
            self.output = before + step.text
            self._continues = step.end == "eom" and not step.calls and not step.malformed
        yield self._event(ev.StepFinished, step=step.number, end=step.end, usage=_usage_of(step))
        if stopped:
            raise stopped

    async def _serve(self, calls: list[ToolCall], repeats: Repeats) -> AsyncGenerator[ev.Event, None]:
        """Every call of a message in order; whatever happens, each gets an answer in the transcript."""
        answers = {call.id: _answer(call, _UNRUN) for call in calls}
        service = Service(self.tools, self.limits, self.cancel, self.deps, self.approve, self.conversation.id)
        try:
            for call in calls:
                self._next_call()
                yield self._event(
                    ev.ToolCallStarted, call_id=call.id, name=call.name, arguments=call.arguments
                )
                answers[call.id] = _answer(call, _STOPPED)
                async with aclosing(serve(call, service)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Served):
                            answers[call.id] = repeats.answer(piece)
                            yield self._event(ev.ToolCallFinished, **piece.report(answers[call.id]))
                            if piece.undecided:
                                yield self._event(
                                    ev.ApprovalRequested,
                                    call_id=call.id,
                                    name=call.name,
                                    arguments=call.arguments,
                                )
                                raise Ended("approval", piece.result.content)
                        else:
                            yield self._event(
                                ev.ToolOutputDelta, call_id=call.id, stream=piece[0], text=piece[1]
                            )
                if repeats.exceeded:
                    raise Ended("loop", f"{call.name} was called {repeats.times} times with the same result")
        finally:
            self.conversation.append(list(answers.values()), self.model)

    def _found(self, found: ParseEvent) -> ev.TextDelta | ev.ToolCallDelta | None:
        if isinstance(found, TextDelta):
            return self._event(ev.TextDelta, text=found.text)
        if isinstance(found, ArgumentsDelta):
            return self._event(ev.ToolCallDelta, index=found.index, text=found.text)
        return None

    def _next_step(self) -> int:
        limit = self.limits.max_steps
        if limit is not None and self.steps >= limit:
            raise Ended("max_steps", f"the limit of {limit} steps is reached")
        self.steps += 1
        return self.steps

    def _next_call(self) -> None:
        limit = self.limits.max_tool_calls
        if limit is not None and self.usage.tool_calls >= limit:
            raise Ended("max_steps", f"the limit of {limit} tool calls is reached")
        self._count(tool_calls=1)

    def _tokens_left(self) -> int | None:
        limit = self.limits.max_tokens
        if limit is None:
            return None
        if self.usage.output_tokens >= limit:
            raise Ended("max_tokens", f"the limit of {limit} tokens is reached")
        return limit - self.usage.output_tokens

    def _count(self, step: Step | None = None, *, tool_calls: int = 0, seconds: float = 0.0) -> None:
        used, more = self.usage, _usage_of(step) if step else ev.Usage()
        self.usage = ev.Usage(
            prompt_tokens=used.prompt_tokens + more.prompt_tokens,
            output_tokens=used.output_tokens + more.output_tokens,
            tool_calls=used.tool_calls + tool_calls,
            seconds=seconds or used.seconds,
            decode_seconds=used.decode_seconds + more.decode_seconds,
        )

    def _event(self, kind: type[E], **values: Any) -> E:
        self._seq += 1
        return kind(run_id=self.run_id, seq=self._seq, **values)


def _answer(call: ToolCall, text: str) -> Message:
    return Message(role="ipython", content=text, tool_call_id=call.id, name=call.name)


def _usage_of(step: Step) -> ev.Usage:
    return ev.Usage(
        prompt_tokens=step.prompt_tokens,
        output_tokens=step.output_tokens,
        seconds=step.seconds,
        decode_seconds=step.decode_seconds,
    )
