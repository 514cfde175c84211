"""Calls that a run left without an answer: it waits for a decision, or its process ended in the middle."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from arriero.prompts import Message, ToolCall

from .approval import edit_note

UNRUN: Final = "Error: the call was not run, because the run ended before it."
LOST: Final = "Error: it is not known whether {name} took effect: the program ended while the call ran."

Fate = Literal["unrun", "undecided", "unknown"]


@dataclass(slots=True)
class Mark:
    """A place in a conversation that it can be taken back to."""

    messages: int
    tokens: int
    evaluated: int
    open: bool


class Pending(BaseModel):
    """The calls of a conversation's last message while not all of them are settled.

    ``answers`` holds what finished calls said, by call id. ``fates`` says of each other call whether it never began
    (``unrun``), waits for approval and was not run (``undecided``), or had begun and nobody knows whether it took
    effect (``unknown``). ``run_id`` and ``step`` say which message asked for them. ``mark`` is where their answers
    begin in the conversation. Of the calls in ``edited`` a person has changed the arguments: ``calls`` has them as
    they are now. ``told`` is what was said of the call that waits for approval: a decision answers what a screen
    objects to only if it was told of that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    step: int
    mark: Mark
    calls: tuple[ToolCall, ...]
    answers: dict[str, Message] = {}
    fates: dict[str, Fate] = {}
    edited: tuple[str, ...] = ()
    told: str = ""

    @property
    def open_calls(self) -> tuple[ToolCall, ...]:
        """The calls without an answer, in order."""
        return tuple(call for call in self.calls if call.id not in self.answers)

    @property
    def to_decide(self) -> tuple[ToolCall, ...]:
        """The calls that need a person's decision before the run can go on, as far as is known."""
        return tuple(call for call in self.open_calls if self.fates.get(call.id) in ("undecided", "unknown"))

    def closing(self) -> list[Message]:
        """An answer to every call, for when nobody goes on with them."""
        told = {"unknown": LOST}
        return [
            self.answers.get(call.id)
            or answer_to(
                call,
                told.get(self.fates.get(call.id, ""), UNRUN).format(name=call.name),
                edited=call.id in self.edited,
            )
            for call in self.calls
        ]


def answer_to(call: ToolCall, text: str, *, edited: bool = False) -> Message:
    """The message that answers a call; of one that was ``edited`` it says so."""
    text = f"{edit_note(call)}{text}" if edited else text
    return Message(role="ipython", content=text, tool_call_id=call.id, name=call.name)


def waiting_at(
    waiting: ToolCall,
    calls: Sequence[ToolCall],
    answers: Mapping[str, Message],
    run_id: str,
    step: int,
    mark: Mark,
    earlier: Pending | None,
    edited: Iterable[str] = (),
    told: str = "",
) -> Pending:
    """What waits when nobody has decided about the call ``waiting``: it, and those behind it."""
    done = set(earlier.answers if earlier else ()) | {call.id for call in calls[: calls.index(waiting)]}
    fates: dict[str, Fate] = {call.id: "unrun" for call in calls if call.id not in done}
    fates[waiting.id] = "undecided"
    before = earlier.fates if earlier else {}
    fates |= {call_id: "unknown" for call_id in fates if before.get(call_id) == "unknown"}
    return Pending(
        run_id=earlier.run_id if earlier else run_id,
        step=step,
        mark=mark,
        calls=tuple(calls),
        answers={call_id: answer for call_id, answer in answers.items() if call_id in done},
        fates=fates,
        edited=tuple(edited),
        told=told,
    )
