"""What a run is given by keyword, and what it results in."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypedDict

from typing_extensions import TypeVar

from arriero.prompts import Message

from .approval import Decided
from .cancellation import CancellationToken
from .conversation import Conversation
from .events import RunFinished, StopReason, Usage
from .limits import Limits
from .output import Output

OutputT = TypeVar("OutputT", default=str)
DepsT = TypeVar("DepsT", default=Any)


@dataclass(frozen=True, slots=True)
class RunResult(Generic[OutputT]):
    """How a run ended. ``output`` is the answer, or as much of it as there is; ``error`` says why it is not
    whole. ``data`` is the answer as an object of the agent's ``output_type`` (without one, the text itself); None
    where the run did not end with an answer.
    """

    output: str
    messages: tuple[Message, ...]
    new_messages: tuple[Message, ...]
    usage: Usage
    stop_reason: StopReason
    run_id: str
    error: str | None = None
    data: OutputT | None = None


class RunOptions(TypedDict, Generic[DepsT], total=False):
    """What a single run may be given, by keyword.

    ``conversation`` to go on with (default: the agent's session, else a new one); ``cancel`` ends the run with
    what there is; ``deps`` takes the place of the agent's; ``decisions`` say by call id whether calls that wait
    may run (True, or Edited with other arguments) or not (False, or Refused with a reason); ``limits`` take the
    place of the agent's; ``files`` are text files that are put before the prompt.
    """

    conversation: Conversation | None
    cancel: CancellationToken | None
    deps: DepsT | None
    decisions: Mapping[str, Decided] | None
    limits: Limits | None
    files: Sequence[str | os.PathLike[str]]


def result_of(
    event: RunFinished, conversation: Conversation, output: Output[OutputT] | None
) -> RunResult[OutputT]:
    """The result that a run's last event tells; ``output`` reads the answer as an object."""
    data: Any = None
    if event.stop_reason == "final":
        data = output.read(event.output) if output else event.output
    return RunResult(
        output=event.output,
        messages=tuple(conversation.messages),
        new_messages=event.new_messages,
        usage=event.usage,
        stop_reason=event.stop_reason,
        run_id=event.run_id,
        error=event.error,
        data=data,
    )
