"""What every tool is to the loop: a spec, an effect, and a coroutine that answers one call."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from arriero.prompts import ToolSpec
from arriero.prompts.errors import ArrieroError

Effect = Literal["read", "idempotent", "once"]
Deps = TypeVar("Deps")


class ToolError(ArrieroError):
    """A tool could not do what was asked; the message is shown to the model and the run goes on."""


class ModelRetry(ToolError):
    """The model should call again, with the hint in this error's message."""


class ToolFailed(ToolError):
    """The call failed for good: the model is told why, and that calling again will not help."""


class ApprovalRequired(ToolError):
    """The call must not run before a person has agreed; the message says why.

    A tool may raise it itself, as long as it has done nothing yet and ``context.approved`` is False: once the
    call is approved it is run from the start.
    """


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something a tool produced besides text: an image, a file, the whole of an output that was cut."""

    name: str
    mime: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The answer to one call: the text for the model, and artifacts for the caller."""

    content: str
    artifacts: tuple[Artifact, ...] = ()
    error: bool = False


class RunContext(NamedTuple, Generic[Deps]):
    """What a call knows beside its arguments; the model sees none of it.

    ``deps`` is what the caller gave to the agent or the run. ``on_output(stream, text)`` may be called with
    ``"stdout"`` or ``"stderr"`` while the tool runs, from any thread. ``approved`` is True when the call needed
    approval and has it. ``conversation_id`` tells conversations apart, for tools that keep something for each.
    """

    call_id: str = ""
    on_output: Callable[[str, str], None] = lambda stream, text: None
    deps: Deps = None  # type: ignore[assignment]
    tool_name: str = ""
    approved: bool = False
    conversation_id: str = ""


ToolContext: TypeAlias = RunContext[Any]
"""The context of a tool that does not care what the dependencies are."""


class Tool(ABC):
    """A tool that a model can call.

    ``effect`` says whether a call may be repeated after a crash: ``read`` and ``idempotent`` may, ``once``
    may not. ``timeout`` is in seconds; None leaves the limit to the loop. ``when_late`` ends the sentence that
    tells the model of a call that overran it: what became of the work.
    """

    spec: ToolSpec
    effect: Effect = "once"
    timeout: float | None = None
    when_late: str = "was stopped"

    @property
    def name(self) -> str:
        return self.spec.name

    def needs_approval(self, arguments: dict[str, Any]) -> bool:
        """Whether a person must agree before a call with these arguments runs; by default nobody need."""
        return False

    @abstractmethod
    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Answer one call; ``arguments`` already fit the spec's schema. Raises ToolError for the model to
        read.
        """

    def resumed(self, conversation_id: str) -> None:
        """A conversation in which it was called goes on, maybe in another process: what is gone is to be told."""
        return None

    async def aclose(self) -> None:
        """Free what the tool holds; it is safe to call twice."""
        return None
