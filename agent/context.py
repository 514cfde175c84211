"""What becomes of a conversation that no longer fits the model's context: policies as plain objects.

A policy is any callable ``policy(state)``, sync or async, that returns the messages to go on with, or None to leave
them as they are, so that the run ends with ``max_tokens`` once nothing fits any more. Nothing goes unsaid: what a
policy took out is told by ``ContextCompacted``.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from arriero.prompts import Message

_DROPPED: Final = "[The output of this call was taken out to make room: {count} characters. It began: {head}]"
_HEAD: Final = 80  # characters of an output that stay
_SUMMARY: Final = "What was said before, in short:"


@dataclass(frozen=True, slots=True)
class ContextState:
    """What a policy decides on: the messages, how many tokens they take, and how many they may.

    ``count`` says how many tokens a text takes.
    """

    messages: tuple[Message, ...]
    tokens: int
    room: int
    count: Callable[[str], int]


ContextPolicy = Callable[[ContextState], Sequence[Message] | Awaitable[Sequence[Message] | None] | None]


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep everything: the run ends with ``max_tokens`` when the context is full. The default."""

    def __call__(self, state: ContextState) -> None:
        """Nothing is taken out."""


@dataclass(frozen=True, slots=True)
class DropToolOutputs:
    """Take out the oldest outputs of tools, as many as need be, and leave how they began.

    The last ``keep`` outputs stay whole. The outputs themselves remain in the events of the run, and in the journal.
    """

    keep: int = 2

    def __call__(self, state: ContextState) -> Sequence[Message] | None:
        """The messages with outputs taken out until they fit; None where there is nothing to take out."""
        messages = list(state.messages)
        outputs = [number for number, message in enumerate(messages) if message.role == "ipython"]
        over = state.tokens - state.room
        changed = False
        for number in outputs[: len(outputs) - self.keep] if self.keep else outputs:
            if over <= 0:
                break
            message = messages[number]
            head = " ".join(message.content[:_HEAD].split())
            short = _DROPPED.format(count=len(message.content), head=head)
            if len(short) >= len(message.content):
                continue
            over -= state.count(message.content) - state.count(short)
            messages[number] = message.model_copy(update={"content": short, "data": None, "parts": ()})
            changed = True
        return messages if changed else None


@dataclass(frozen=True, slots=True)
class SummariseTurns:
    """Put a summary in the place of all turns but the last ``keep``.

    ``summarise(text)``, sync or async, is given the older turns as text; it may ask a model.
    """

    summarise: Callable[[str], str | Awaitable[str]]
    keep: int = 1

    async def __call__(self, state: ContextState) -> Sequence[Message] | None:
        """The system message, the summary as the first turn, and the turns that stay."""
        messages = state.messages
        begins = [number for number, message in enumerate(messages) if message.role == "user"]
        if len(begins) <= self.keep:
            return None
        first, cut = begins[0], begins[len(begins) - self.keep] if self.keep else len(messages)
        older = "\n\n".join(f"{one.role}: {one.content}" for one in messages[first:cut] if one.content)
        made = self.summarise(older)
        text = made if isinstance(made, str) else await made
        told = Message(role="user", content=_SUMMARY, context=text)
        noted = Message(role="assistant", content="Understood.")
        return [*messages[:first], told, noted, *messages[cut:]]


def what_went(before: Sequence[Message], after: Sequence[Message]) -> str:
    """What a policy took out, in words."""
    outputs = sum(
        old.role == "ipython" and old.content != new.content
        for old, new in zip(before, after, strict=False)
        if len(before) == len(after)
    )
    if outputs:
        return f"{outputs} outputs of tools"
    return f"{max(0, len(before) - len(after))} of {len(before)} messages"
