"""The conversation that Llama Guard is shown: in the roles of each wrapper, and no longer than its context."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from arriero.prompts import Message, Role

from ..attachments import readable
from ..base import Place, ScreenError, ScreenInput
from .prompt import GuardForm

_ROLES: Final[dict[Place, Role]] = {"input": "user", "tool_result": "ipython"}
_OVERLAP: Final = 1_000
"""Characters that two pieces of a text share that is longer than the context."""

_FRAME: Final = 12
"""Tokens allowed for the label and the newlines around a turn; all wrappers take fewer."""

Cost = Callable[[str], int]
"""Counts the tokens of a text."""


def judged(given: ScreenInput) -> tuple[list[Message], str]:
    """The conversation that ends with the text to judge, and a note on what could not be read of it.

    Instructions are left out: the guard judges what users, tools and the model say. Calls are written as text.
    """
    role = _ROLES.get(given.place, "assistant")
    texts, note = readable(given.attachments)
    text = f"{given.tool}({given.text})" if given.place == "tool_call" else given.text
    earlier = [_plain(message) for message in given.messages if message.role != "system"]
    return [*earlier, Message(role=role, content="\n\n".join([text, *texts]))], note


def _plain(message: Message) -> Message:
    """The message as one text: parts, retrieved text and calls after its content."""
    calls = (
        f"{call.name}({call.raw_arguments or json.dumps(call.arguments, ensure_ascii=False)})"
        for call in message.tool_calls
    )
    texts = (message.content, *message.parts, message.context or "", *calls)
    return Message(role=message.role, content="\n".join(filter(None, texts)))


def in_form(messages: Sequence[Message], form: GuardForm) -> list[Message]:
    """The conversation with roles that the wrapper can write.

    llama-stack's writes every role. The others know a user and an agent in turn, the user first: what a tool said
    counts as the agent's, and texts of one side that follow each other become one turn.
    """
    if form.order == "shield":
        return list(messages)
    turns: list[Message] = []
    for message in messages:
        role: Role = "user" if message.role == "user" else "assistant"
        if turns and turns[-1].role == role:
            turns[-1] = Message(role=role, content=f"{turns[-1].content}\n\n{message.content}")
        else:
            turns.append(Message(role=role, content=message.content))
    return turns if turns[0].role == "user" else [Message(role="user"), *turns]


def windows(messages: Sequence[Message], room: int, cost: Cost) -> Iterator[list[Message]]:
    """Conversations of at most ``room`` tokens that each end with the last message, or with a piece of it.

    As many of the earlier messages as fit are kept, from a user's on. They are dropped half a window at a time, so
    that the next turn of the conversation begins with the same ones and is found in the model's cache. A last
    message that is too long alone is cut into pieces that overlap; each is judged without the earlier messages.
    Raises ScreenError if there is no room at all.
    """
    if room <= 2 * _FRAME:
        raise ScreenError(
            "Llama Guard's context is too short for its own instructions; give it 2,048 tokens or more"
        )
    *earlier, last = messages
    # The wrappers take whoever speaks first for the user.
    lead = [] if last.role == "user" else [Message(role="user")]
    needed = cost(last.content) + 2 * _FRAME
    if needed > room:
        for piece in pieces(last.content, room - 2 * _FRAME, cost):
            yield [*lead, Message(role=last.role, content=piece)]
        return
    costs = [cost(message.content) + _FRAME for message in earlier]
    excess = sum(costs) + needed - room
    if excess > 0:
        step = max(1, room // 2)
        excess = -(-excess // step) * step
        dropped = next(
            (index for index, sum_ in enumerate(accumulate(costs), 1) if sum_ >= excess), len(costs)
        )
        earlier = earlier[dropped:]
        while earlier and earlier[0].role != "user":
            earlier.pop(0)
    yield [*(earlier or lead), last]


def pieces(text: str, room: int, cost: Cost) -> list[str]:
    """The text in overlapping pieces of at most ``room`` tokens each. Raises ScreenError if that cannot be."""
    size = len(text)
    while size > 0:
        overlap = min(_OVERLAP, size // 4)
        found = list(_cut(text, size, overlap))
        worst = max(map(cost, found))
        if worst <= room:
            return found
        size = min(size - 1, size * room // worst)
    raise ScreenError("Llama Guard's context is too short for a single character")


def _cut(text: str, size: int, overlap: int) -> Iterator[str]:
    start = 0
    while start + size < len(text):
        yield text[start : start + size]
        start += size - overlap
    yield text[start:]
