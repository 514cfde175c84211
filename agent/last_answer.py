"""The last answer of a run that a limit ends: the model says what it knows, without tools."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from arriero.prompts import ArrieroError, Message

from .endings import Ended
from .events import Event
from .pending import UNRUN, answer_to
from .run import Run
from .step import Step
from .writing import Writing

log = logging.getLogger(__name__)

_LAST = "Note: {why}. No tool can be called any more: answer now with what is known, and say what is missing."


async def conclude(run: Run, why: str) -> AsyncGenerator[Event, None]:
    """Tell the model ``why``, and let it write once more: calls that it asks for are not run, and its faults change
    nothing. Raises Ended where the screens block what it writes.
    """
    output = run.output
    try:
        told = Message(role="ipython", content=_LAST.format(why=why[:1].upper() + why[1:]))
        run.conversation.append([told], run.model)
        run.spending.steps += 1
        step = Step(run.spending.steps)
        writing = Writing(run, step, last=True)
        async with aclosing(writing.events()) as events:
            async for event in events:
                yield event
        if step.retry:
            yield writing.take_back()
        elif step.calls:
            run.conversation.append([answer_to(call, UNRUN) for call in step.calls], run.model)
    except (ArrieroError, Ended) as fault:
        if isinstance(fault, Ended) and fault.reason == "blocked":
            raise
        log.debug("run %s has no last answer: %s", run.run_id, fault)
    if not run.output.strip():
        run.output = output
