"""What a run tells whoever keeps it: a journal, or nobody."""

from collections.abc import Sequence
from dataclasses import dataclass

from arriero.prompts import ArrieroError, Message, ToolCall
from arriero.tools import Effect

from .backends import Constraint, Sampling
from .events import Event, RunFinished, ToolCallFinished
from .limits import Limits


class JournalError(ArrieroError):
    """The journal cannot be read or written; the message says why and what to do."""


@dataclass(slots=True)
class Generated:
    """One call of the model: what it was asked (``prompt_tokens`` counts the whole transcript) and what it wrote.

    ``stop`` is the stop token's name, None where it was cut off.
    """

    prompt_tokens: int
    seed: int | None
    max_tokens: int | None
    constraint: Constraint | None
    texts: Sequence[str]
    ids: Sequence[int] = ()
    stop: str | None = None


class Recorder:
    """Keeps nothing; a journal's recorder does the same things and keeps them.

    The coroutines return once what they were told is safe, and raise JournalError when it cannot be.
    """

    def seeded(self, sampling: Sampling) -> Sampling:
        """How the run samples: with a seed, where that is to be known later."""
        return sampling

    def heard(self, generated: Generated) -> None:
        """The model has written a message, or part of one."""

    async def begin(self, prompt: str | None, sampling: Sampling, limits: Limits) -> None:
        """The run begins; ``prompt`` is None where it goes on with what another left."""

    def event(self, event: Event) -> None:
        """Something has happened."""

    def adopt(self, run_id: str | None) -> None:
        """The calls that follow are those of an earlier run, until this is told None."""

    def keep(self, kind: str, step: int) -> None:
        """The conversation has grown by a ``turn``, a ``step``, ``results``, was ``compacted`` or ``rewound``."""

    async def intend(self, call: ToolCall, step: int, effect: Effect) -> None:
        """A call is about to run; it must not before this returns."""

    async def settle(
        self, call: ToolCall, answer: Message, finished: ToolCallFinished, effect: Effect
    ) -> None:
        """A call has ended."""

    async def suspend(self, call: ToolCall, step: int, effect: Effect) -> None:
        """A call has done nothing yet and waits for approval."""

    async def end(self, finished: RunFinished) -> None:
        """The run has ended."""

    def release(self) -> None:
        """The run is over for whoever listens, even where it did not come to its end."""
