"""Going on with what an earlier run left in the conversation."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from .endings import Ended
from .events import Event
from .run import Run
from .serving import Serving
from .step import Step


async def resume(run: Run) -> AsyncGenerator[Event, None]:
    """Serve the calls that are left, or close an answer that was cut off, so that the loop can go on.

    Raises Ended where the conversation has its answer already.
    """
    conversation, pending = run.conversation, run.conversation.pending
    if pending is not None:
        conversation.rewind(pending.mark)
        # The transcript may have been rendered again; what follows it must stand apart from that.
        run.recorder.keep("rewound", pending.step)
        run.recorder.adopt(pending.run_id)
        step = Step(pending.step, calls=list(pending.calls), end="eom")
        try:
            async with aclosing(Serving(run, step, pending).events()) as events:
                async for event in events:
                    yield event
        finally:
            run.recorder.adopt(None)
    elif not conversation.unfinished:
        raise Ended("error", "there is nothing to go on with: the conversation has its answer; give a prompt")
    elif conversation.open:
        conversation.append([], run.model)
