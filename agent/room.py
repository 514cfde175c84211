"""Making room in the model's context for the next message."""

import inspect
from typing import Final

from arriero.prompts import Segment

from .context import ContextState, what_went
from .events import ContextCompacted
from .run import Run

_ANSWER_ROOM: Final = (
    1024  # tokens that are kept free for the next message, where the context has four times that
)


async def make_room(run: Run) -> ContextCompacted | None:
    """Let the context policy take something out where the next message would not fit; None where nothing went."""
    if run.context is None:
        return None
    conversation, length = run.conversation, run.model.context_length
    before, room = len(conversation.tokens), length - min(_ANSWER_ROOM, length // 4)
    if before <= room:
        return None
    messages = tuple(conversation.messages)
    state = ContextState(messages, before, room, lambda text: len(run.model.tokenize([Segment(text)])))
    found = run.context(state)
    new = await run.cancel.guard(found) if inspect.isawaitable(found) else found
    if new is None or tuple(new) == messages:
        return None
    conversation.replace_messages(new, run.model)
    run.recorder.keep("compacted", run.spending.steps)
    return run.event(
        ContextCompacted,
        removed=what_went(messages, new),
        tokens_before=before,
        tokens_after=len(conversation.tokens),
    )
