"""What a run tells whoever keeps it: a journal, or nobody."""

from arriero.prompts import ArrieroError, Message, ToolCall
from arriero.tools import Effect

from .backends import Model, Sampling
from .events import Event, RunFinished, ToolCallFinished
from .limits import Limits


class JournalError(ArrieroError):
    """The journal cannot be read or written; the message says why and what to do."""


class Recorder:
    """Keeps nothing; a journal's recorder does the same things and keeps them.

    The coroutines return once what they were told is safe, and raise JournalError when it cannot be.
    """

    def listen(self, model: Model) -> Model:
        """The model, with ears for what it generates."""
        return model

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
