"""The loop: user text in, steps of the model and its tools, events out."""

import inspect
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from arriero.prompts import ArrieroError, Message, Segment
from arriero.prompts.parser import ArgumentsDelta, ParseEvent, TextDelta
from arriero.safety.pipeline import Outcome
from arriero.safety.stream import ScreenedText
from arriero.tools import Tool

from . import events as ev
from .attempts import Attempts
from .backends import ContextOverflow, Model, Sampling
from .calls import Approve, Repeats, Served, Service, serve
from .cancellation import CancellationToken, RunCancelled
from .context import ContextPolicy, ContextState, what_went
from .conversation import Conversation
from .limits import Limits
from .pending import UNRUN, Mark, Pending, answer_to, waiting_at
from .recorder import JournalError, Recorder
from .screening import Screening, report, why
from .step import Step, sample

log = logging.getLogger(__name__)

_MALFORMED = "Error: the call could not be read: {reason} Write it again, complete and in the given format."
E = TypeVar("E", bound=ev.Event)
Hook = Callable[[ev.Event], object]
_STOPPED = "Error when running tool: it was stopped before it ended."
_UNFIT = "Error: the answer cannot be read: {reason}. Answer again, with the JSON document alone."
_LAST = "Note: {why}. No tool can be called any more: answer now with what is known, and say what is missing."
_ANSWER_ROOM = 1024  # tokens that are kept free for the next message, where the context has four times that
_CONCLUDED = ("max_steps", "loop")


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
    screening: Screening
    attempts: Attempts
    deps: Any = None
    approve: Approve | None = None
    context: ContextPolicy | None = None
    recorder: Recorder = field(default_factory=Recorder)
    decisions: Mapping[str, bool] = field(default_factory=dict)
    hooks: Sequence[Hook] = ()
    output: str = ""
    steps: int = 0
    usage: ev.Usage = field(default_factory=ev.Usage)
    _seq: int = 0
    _continues: bool = False
    _last: bool = False

    async def events(self, prompt: str | None) -> AsyncGenerator[ev.Event, None]:
        """Run until an answer or a limit; the last event is always RunFinished, and nothing is raised.

        Without a prompt the run goes on with what an earlier one left unfinished in the conversation.
        """
        started = time.monotonic()
        first = len(self.conversation.messages)
        reason: ev.StopReason = "final"
        error: str | None = None
        begun = self._event(ev.RunStarted, model=self.model.name, tools=tuple(self.tools))
        unkept = await self._begin(prompt)
        yield begun
        try:
            if unkept:
                raise unkept
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
        if reason in _CONCLUDED and self.limits.last_answer:
            try:
                async with aclosing(self._conclude(error or "")) as events:
                    async for event in events:
                        yield event
            except Ended as end:
                reason, error = end.reason, str(end)
        self._count(seconds=time.monotonic() - started)
        yield await self._finished(reason, error, tuple(self.conversation.messages[first:]))

    async def _begin(self, prompt: str | None) -> JournalError | None:
        try:
            await self.recorder.begin(prompt, self.sampling, self.limits)
        except JournalError as fault:
            return fault
        return None

    async def _finished(
        self, reason: ev.StopReason, error: str | None, messages: tuple[Message, ...]
    ) -> ev.RunFinished:
        finished = self._event(
            ev.RunFinished,
            stop_reason=reason,
            output=self.output,
            error=error,
            new_messages=messages,
            usage=self.usage,
        )
        try:
            self.recorder.keep("end", self.steps)
            await self.recorder.end(finished)
        except JournalError as fault:
            # The answer is whole; whoever relies on the journal must hear that it is not there.
            return finished.model_copy(update={"stop_reason": "error", "error": error or str(fault)})
        return finished

    async def _conclude(self, why: str) -> AsyncGenerator[ev.Event, None]:
        """A last answer without tools: calls that it asks for are not run, and its faults change nothing."""
        output = self.output
        try:
            told = Message(role="ipython", content=_LAST.format(why=why[:1].upper() + why[1:]))
            self.conversation.append([told], self.model)
            self.steps += 1
            self._last = True
            step, begun = Step(self.steps), self.conversation.mark()
            async with aclosing(self._write(step)) as events:
                async for event in events:
                    yield event
            if step.retry:
                yield self._rewind(begun, step)
            elif step.calls:
                self.conversation.append([answer_to(call, UNRUN) for call in step.calls], self.model)
        except (ArrieroError, Ended) as fault:
            if isinstance(fault, Ended) and fault.reason == "blocked":
                raise
            log.debug("run %s has no last answer: %s", self.run_id, fault)
        if not self.output.strip():
            self.output = output

    async def _resume(self, repeats: Repeats) -> AsyncGenerator[ev.Event, None]:
        """Go on with what is unfinished: calls first, then the loop."""
        conversation = self.conversation
        pending = conversation.pending
        if conversation.unasked is not None:
            asked, conversation.unasked = conversation.unasked, None
            async with aclosing(self._admit(Message(role="user", content=asked))) as events:
                async for event in events:
                    yield event
        elif pending is not None:
            conversation.rewind(pending.mark)
            self.recorder.adopt(pending.run_id)
            step = Step(pending.step, calls=list(pending.calls), end="eom")
            try:
                async with aclosing(self._serve(step, repeats, pending)) as events:
                    async for event in events:
                        yield event
            finally:
                self.recorder.adopt(None)
        elif not conversation.unfinished:
            raise Ended(
                "error", "there is nothing to go on with: the conversation has its answer; give a prompt"
            )
        elif conversation.open:
            conversation.append([], self.model)

    async def _converse(self, prompt: str | None) -> AsyncGenerator[ev.Event, None]:
        """User text → steps → answer."""
        repeats = Repeats(self.limits.max_repeats)
        opening = (
            self._resume(repeats) if prompt is None else self._admit(Message(role="user", content=prompt))
        )
        async with aclosing(opening) as events:
            async for event in events:
                yield event
        while True:
            async with aclosing(self._make_room()) as events:
                async for event in events:
                    yield event
            step = Step(self._next_step())
            begun, so_far = self.conversation.mark(), (self.output, self._continues)
            async with aclosing(self._write(step)) as events:
                async for event in events:
                    yield event
            step.retry = step.retry or self.attempts.unusable(step)
            if step.retry:
                yield self._rewind(begun, step)
                self.output, self._continues = so_far
                continue
            if step.end == "length":
                raise Ended("max_tokens", "the answer was cut off at the limit of tokens")
            if step.calls:
                async with aclosing(self._serve(step, repeats)) as events:
                    async for event in events:
                        yield event
                if step.retry:
                    yield self._rewind(begun, step)
            elif step.malformed:
                yield self._tell(_MALFORMED, step.malformed[0].reason)
            elif self._continues:
                # The model ends a message and not its turn without asking for a tool: it wants to go on.
                self.conversation.append([], self.model)
            elif reason := self.attempts.unfit(self.output):
                yield self._tell(_UNFIT, reason)
            else:
                return

    async def _make_room(self) -> AsyncGenerator[ev.Event, None]:
        """Let the context policy take something out where the next message would not fit."""
        conversation, length = self.conversation, self.model.context_length
        before, room = len(conversation.tokens), length - min(_ANSWER_ROOM, length // 4)
        if self.context is None or before <= room:
            return
        messages = tuple(conversation.messages)
        state = ContextState(messages, before, room, lambda text: len(self.model.tokenize([Segment(text)])))
        found = self.context(state)
        new = await self.cancel.guard(found) if inspect.isawaitable(found) else found
        if new is None or tuple(new) == messages:
            return
        conversation.replace_messages(new, self.model)
        self.recorder.keep("compacted", self.steps)
        yield self._event(
            ev.ContextCompacted,
            removed=what_went(messages, new),
            tokens_before=before,
            tokens_after=len(conversation.tokens),
        )

    def left(self) -> dict[str, int]:
        """What is left of the limits, for agents that this run calls."""
        used, limits = self.usage, self.limits
        bounds = {
            "max_tokens": (limits.max_tokens, used.output_tokens),
            "max_total_tokens": (limits.max_total_tokens, used.output_tokens + used.prompt_tokens),
            "max_tool_calls": (limits.max_tool_calls, used.tool_calls),
        }
        return {name: most - spent for name, (most, spent) in bounds.items() if most is not None}

    def charge(self, usage: ev.Usage) -> None:
        """Count what an agent that this run called has used."""
        used = self.usage
        self.usage = used.model_copy(
            update={
                "prompt_tokens": used.prompt_tokens + usage.prompt_tokens,
                "output_tokens": used.output_tokens + usage.output_tokens,
                "tool_calls": used.tool_calls + usage.tool_calls,
            }
        )

    def _tell(self, error: str, reason: str) -> ev.ModelRetried:
        """Let the model know why it has to write something else."""
        told = Message(role="ipython", content=error.format(reason=reason))
        self.conversation.append([told], self.model)
        return self._event(ev.ModelRetried, reason=reason)

    async def _admit(self, message: Message) -> AsyncGenerator[ev.Event, None]:
        """What the user wrote, as far as the screens let it pass."""
        self.conversation.unasked = None
        pending = self.conversation.pending
        if pending and len(self.conversation.messages) == pending.mark.messages:
            self.conversation.append(pending.closing(), self.model)
            self.recorder.keep("results", 0)
        self.conversation.begin_turn(message, self.model)
        outcome = await self.screening.admit(message, self.model)
        for event in self._checked(outcome):
            yield event
        if outcome.action == "allow":
            self.recorder.keep("turn", 0)
            return
        self.conversation.undo()
        if outcome.action != "replace":
            self.output = self.screening.text("input")
            yield self._event(ev.TextDelta, text=self.output)
            raise Ended("blocked", why(outcome))
        self.conversation.begin_turn(message.model_copy(update={"content": outcome.text}), self.model)
        self.recorder.keep("turn", 0)

    async def _write(self, step: Step) -> AsyncGenerator[ev.Event, None]:
        """One message of the model: header, tokens, what they mean."""
        conversation = self.conversation
        begun = conversation.mark()
        conversation.begin_answer(self.model)
        step.prompt_tokens = len(conversation.tokens) - conversation.evaluated
        yield self._event(
            ev.StepStarted,
            step=step.number,
            context_tokens=len(conversation.tokens),
            new_tokens=step.prompt_tokens,
            context_length=self.model.context_length,
        )
        parsed = sample(
            step,
            self.model,
            conversation,
            [tool.spec for tool in self.tools.values()],
            self.attempts.settings(),
            self._tokens_left(),
            self.cancel,
            self.attempts.constraint(last=self._last),
        )
        stopped: RunCancelled | None = None
        before = self.output if self._continues else ""
        answer = self.screening.answer()
        try:
            async with aclosing(parsed):
                async for found in parsed:
                    for event in await self._found(found, step, answer):
                        yield event
                    if answer and answer.stopped:
                        step.end = "cancelled"
                        break
            if answer:
                for event in self._shown(await self.cancel.guard(answer.finish()), answer):
                    yield event
        except RunCancelled as stop:
            stopped = stop
            if answer:
                for event in self._shown(await answer.cut(), answer):
                    yield event
        except BaseException:
            if answer:
                self._keep_shown(step, answer.shown, begun)
            raise
        finally:
            self._count(step)
            if answer:
                await answer.aclose()
            self.output = before + (answer.shown if answer else step.text)
            self._continues = step.end == "eom" and not step.calls and not step.malformed
        yield self._event(ev.StepFinished, step=step.number, end=step.end, usage=_usage_of(step))
        if answer:
            for event in self._settled(step, answer, begun):
                yield event
        self.recorder.keep("step", step.number)
        if stopped:
            raise stopped

    def _settled(self, step: Step, answer: ScreenedText, begun: Mark) -> Iterator[ev.Event]:
        """Leave in the conversation only what was shown; where that is not all, say so and end the run."""
        stop = answer.stopped
        if stop and stop.action == "retry" and not answer.shown and self.screening.may_retry():
            step.retry = why(stop)
            return
        if stop is None and answer.shown == step.text:
            return
        told = ""
        if stop:
            told = self.screening.text("output")
            told = f"\n\n{told}" if answer.shown else told
            yield self._event(ev.TextDelta, text=told)
            self.output += told
            step.calls.clear()
            step.malformed.clear()
        self._keep_shown(step, answer.shown + told, begun)
        if stop:
            raise Ended("blocked", why(stop))

    def _keep_shown(self, step: Step, text: str, begun: Mark) -> None:
        """Write the message into the conversation as it was shown; the model's own tokens stay where that is all."""
        if text != step.text:
            step.text = text
            self.conversation.rewind(begun)
            self.conversation.append([step.message], self.model)

    async def _serve(
        self, step: Step, repeats: Repeats, pending: Pending | None = None
    ) -> AsyncGenerator[ev.Event, None]:
        """Every call of a message in order; whatever happens, each gets an answer in the transcript."""
        answers = {call.id: answer_to(call, UNRUN) for call in step.calls}
        answers |= pending.answers if pending else {}
        calls = [call for call in step.calls if pending is None or call.id not in pending.answers]
        service = self._service(pending)
        mark = self.conversation.mark()
        waiting: Pending | None = None
        try:
            outcomes = await self.screening.calls(calls, self.tools)
            for call, outcome in zip(calls, outcomes, strict=True):
                for event in self._checked(outcome, call.id):
                    yield event
            # Calls that an earlier run has begun to serve stand as they are.
            step.retry = None if pending else self.screening.retry(outcomes)
            if step.retry:
                return
            for found in step.unshown:
                yield self._event(ev.ToolCallDelta, index=found.index, text=found.text)
            for call, outcome in zip(calls, outcomes, strict=True):
                self._next_call()
                refused = self.screening.refusal(call, outcome)
                if refused is None:
                    yield self._event(
                        ev.ToolCallStarted, call_id=call.id, name=call.name, arguments=call.arguments
                    )
                answers[call.id] = answer_to(call, _STOPPED)
                ask = outcome.reason if outcome.action == "ask" else None
                async with aclosing(serve(call, service, refused=refused, ask=ask)) as pieces:
                    async for piece in pieces:
                        if not isinstance(piece, Served):
                            yield self._event(
                                ev.ToolOutputDelta, call_id=call.id, stream=piece[0], text=piece[1]
                            )
                            continue
                        checked: list[ev.GuardrailChecked] = []
                        if refused is None:
                            piece.result, outcome = await self.screening.result(call, piece.result)
                            checked = self._checked(outcome, call.id)
                        answers[call.id] = repeats.answer(piece)
                        # Kept before anybody hears of it, so that a kill then finds it finished.
                        finished = await self._ended(piece, answers[call.id])
                        for event in checked:
                            yield event
                        yield finished
                        if outcome.failed:
                            raise Ended("blocked", why(outcome))
                        if piece.undecided:
                            waiting = waiting_at(
                                call, step.calls, answers, self.run_id, step.number, mark, pending
                            )
                            yield self._event(
                                ev.ApprovalRequested,
                                call_id=call.id,
                                name=call.name,
                                arguments=call.arguments,
                                reason=piece.why,
                            )
                            raise Ended("approval", piece.result.content)
                if repeats.exceeded:
                    raise Ended("loop", f"{call.name} was called {repeats.times} times with the same result")
        finally:
            if not step.retry:
                self.conversation.append(list(answers.values()), self.model)
                self.conversation.pending = waiting
                self.recorder.keep("results", step.number)

    def _service(self, pending: Pending | None) -> Service:
        fates = pending.fates if pending else {}
        return Service(
            self.tools,
            self.limits,
            self.cancel,
            self.deps,
            self.approve,
            self.conversation.id,
            recorder=self.recorder,
            budget=self,
            step=pending.step if pending else self.steps,
            decisions=self.decisions if pending else {},
            unknown=frozenset(call_id for call_id, fate in fates.items() if fate == "unknown"),
        )

    async def _ended(self, served: Served, answer: Message) -> ev.ToolCallFinished:
        finished = self._event(ev.ToolCallFinished, **served.report(answer))
        if not served.undecided:
            tool = self.tools.get(served.call.name)
            await self.recorder.settle(served.call, answer, finished, tool.effect if tool else "read")
        return finished

    async def _found(self, found: ParseEvent, step: Step, answer: ScreenedText | None) -> Sequence[ev.Event]:
        if isinstance(found, TextDelta):
            if answer is None:
                return (self._event(ev.TextDelta, text=found.text),)
            return self._shown(await answer.feed(found.text), answer)
        if isinstance(found, ArgumentsDelta):
            if self.screening.shows_calls:
                return (self._event(ev.ToolCallDelta, index=found.index, text=found.text),)
            step.unshown.append(found)
        return ()

    def _shown(self, text: str, answer: ScreenedText) -> list[ev.Event]:
        """What the screens said since, and the text that they let pass."""
        events: list[ev.Event] = [
            self._event(ev.GuardrailChecked, **report(check)) for check in answer.take_checks()
        ]
        if text:
            events.append(self._event(ev.TextDelta, text=text))
        return events

    def _checked(self, outcome: Outcome, call_id: str | None = None) -> list[ev.GuardrailChecked]:
        return [self._event(ev.GuardrailChecked, **report(check, call_id)) for check in outcome.checks]

    def _rewind(self, begun: Mark, step: Step) -> ev.ModelRetried:
        """Take back a message that the model shall write anew."""
        self.conversation.rewind(begun)
        self.conversation.evaluated = len(self.conversation.tokens)  # all that is left has been read
        self.attempts.again += 1
        return self._event(ev.ModelRetried, reason=step.retry or "", discarded_tokens=step.output_tokens)

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
        used, whole = self.usage.output_tokens, self.usage.output_tokens + self.usage.prompt_tokens
        left: int | None = None
        for limit, spent in ((self.limits.max_tokens, used), (self.limits.max_total_tokens, whole)):
            if limit is not None and spent >= limit:
                raise Ended("max_tokens", f"the limit of {limit} tokens is reached")
            if limit is not None:
                left = limit - spent if left is None else min(left, limit - spent)
        return left

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
        event = kind(run_id=self.run_id, seq=self._seq, **values)
        self.recorder.event(event)
        for hook in self.hooks:
            try:
                hook(event)
            except Exception:
                log.exception("a hook failed at %s of run %s", event.type, self.run_id)
        return event


def _usage_of(step: Step) -> ev.Usage:
    return ev.Usage(
        prompt_tokens=step.prompt_tokens,
        output_tokens=step.output_tokens,
        seconds=step.seconds,
        decode_seconds=step.decode_seconds,
    )
