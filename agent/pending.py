"""Calls that a run left without an answer: it waits for a decision, or its process ended in the middle."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from arriero.prompts import Message, ToolCall

Fate = Literal["unrun", "undecided", "unknown"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a conversation that it can be taken back to."""

    messages: int
    tokens: int
    evaluated: int
    open: bool


class Pending(BaseModel):
    """The calls of a conversation's last message while not all of them are settled.

    ``answers`` holds what finished calls said, by call id. ``fates`` says of each other call whether it never
    began (``unrun``), waits for approval and was not run (``undecided``), or had begun and nobody knows
    whether it took effect (``unknown``). ``run_id`` and ``step`` say which message asked for them. ``mark`` is
    where their answers begin in the conversation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    step: int
    mark: Mark
    calls: tuple[ToolCall, ...]
    answers: dict[str, Message] = {}
    fates: dict[str, Fate] = {}

    @property
    def open_calls(self) -> tuple[ToolCall, ...]:
        """The calls without an answer, in order."""
        return tuple(call for call in self.calls if call.id not in self.answers)

    @property
    def to_decide(self) -> tuple[ToolCall, ...]:
        """The calls that need a person's decision before the run can go on, as far as is known."""
        return tuple(call for call in self.open_calls if self.fates.get(call.id) in ("undecided", "unknown"))
