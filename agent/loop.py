"""The loop: user text in, steps of the model and its tools, events out."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from arriero.prompts import Message

from . import events as ev
from .backends import ContextOverflow
from .endings import CONCLUDED, Ended, ending
from .last_answer import conclude
from .recorder import JournalError
from .resuming import resume
from .room import make_room
from .run import Run
from .screening import why
from .serving import Serving
from .step import Step
from .writing import Writing

_MALFORMED = "Error: the call could not be read: {reason} Write it again, complete and in the given format."
_UNFIT = "Error: the answer cannot be read: {reason}. Answer again, with the JSON document alone."


async def drive(run: Run, prompt: str | None) -> AsyncGenerator[ev.Event, None]:
    """Run until an answer or a limit; the last event is always RunFinished, and nothing is raised.

    Without a prompt the run goes on with what an earlier one left unfinished in the conversation.
    """
    started = time.monotonic()
    first = len(run.conversation.messages)
    reason: ev.StopReason = "final"
    error: str | None = None
    begun = run.event(ev.RunStarted, model=run.model.name, tools=tuple(run.tools))
    unkept = await _begin(run, prompt)
    yield begun
    try:
        if unkept:
            raise unkept
        async with aclosing(_converse(run, prompt)) as events:
            async for event in events:
                yield event
    except Exception as fault:
        reason, error = ending(fault, run.run_id)
        if isinstance(fault, ContextOverflow) and run.spending.steps <= 1:
            # Nothing was answered; without this every later turn would overflow too.
            run.conversation.undo()
    if reason in CONCLUDED and run.limits.last_answer:
        try:
            async with aclosing(conclude(run, error or "")) as events:
                async for event in events:
                    yield event
        except Ended as end:
            reason, error = end.reason, str(end)
    run.spending.took(time.monotonic() - started)
    yield await _finish(run, reason, error, tuple(run.conversation.messages[first:]))


async def _converse(run: Run, prompt: str | None) -> AsyncGenerator[ev.Event, None]:
    """User text → steps → answer."""
    if prompt is None:
        prompt = run.conversation.unasked
    opening = resume(run) if prompt is None else _admit(run, Message(role="user", content=prompt))
    async with aclosing(opening) as events:
        async for event in events:
            yield event
    while True:
        if compacted := await make_room(run):
            yield compacted
        step, so_far = Step(run.spending.next_step()), (run.output, run.continues)
        writing = Writing(run, step)
        async with aclosing(writing.events()) as events:
            async for event in events:
                yield event
        step.retry = step.retry or run.attempts.unusable(step)
        if step.retry:
            yield writing.take_back()
            run.output, run.continues = so_far
            continue
        if step.end == "length":
            raise Ended("max_tokens", "the answer was cut off at the limit of tokens")
        if step.calls:
            async with aclosing(Serving(run, step).events()) as events:
                async for event in events:
                    yield event
            if step.retry:
                yield writing.take_back()
        elif step.malformed:
            yield _tell(run, _MALFORMED, step.malformed[0].reason)
        elif run.continues:
            # The model ends a message and not its turn without asking for a tool: it wants to go on.
            run.conversation.append([], run.model)
        elif reason := run.attempts.unfit(run.output):
            yield _tell(run, _UNFIT, reason)
        else:
            return


async def _admit(run: Run, message: Message) -> AsyncGenerator[ev.Event, None]:
    """User text → input screens: what the user wrote, as far as they let it pass."""
    conversation = run.conversation
    conversation.unasked = None
    pending = conversation.pending
    if pending and len(conversation.messages) == pending.mark.messages:
        conversation.append(pending.closing(), run.model)
        run.recorder.keep("results", 0)
    conversation.begin_turn(message, run.model)
    try:
        outcome = await run.screening.admit(message, run.model)
    except BaseException:
        # Nobody has let it pass; a run that goes on has it screened first.
        conversation.undo()
        conversation.unasked = message.content
        raise
    checks = run.checked(outcome)
    passed = outcome.action in ("allow", "replace")
    # Before anything is told of it: whoever hears may leave, and the conversation may go on.
    if outcome.action != "allow":
        conversation.undo()
    if outcome.action == "replace":
        conversation.begin_turn(message.model_copy(update={"content": outcome.text}), run.model)
    if passed:
        run.recorder.keep("turn", 0)
    for event in checks:
        yield event
    if not passed:
        run.output = run.screening.text("input")
        yield run.event(ev.TextDelta, text=run.output)
        raise Ended("blocked", why(outcome))


def _tell(run: Run, error: str, reason: str) -> ev.ModelRetried:
    """Let the model know why it has to write something else."""
    told = Message(role="ipython", content=error.format(reason=reason))
    run.conversation.append([told], run.model)
    return run.event(ev.ModelRetried, reason=reason)


async def _begin(run: Run, prompt: str | None) -> JournalError | None:
    try:
        await run.recorder.begin(prompt, run.sampling, run.limits)
    except JournalError as fault:
        return fault
    return None


async def _finish(
    run: Run, reason: ev.StopReason, error: str | None, messages: tuple[Message, ...]
) -> ev.RunFinished:
    finished = run.event(
        ev.RunFinished,
        stop_reason=reason,
        output=run.output,
        error=error,
        new_messages=messages,
        usage=run.spending.usage,
    )
    try:
        run.recorder.keep("end", run.spending.steps)
        await run.recorder.end(finished)
    except JournalError as fault:
        # The answer is whole; whoever relies on the journal must hear that it is not there.
        return finished.model_copy(update={"stop_reason": "error", "error": error or str(fault)})
    return finished
