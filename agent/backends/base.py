"""What the loop needs of a model, and the small values that pass between them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from arriero.prompts import Segment, ToolSpec
from arriero.prompts.errors import ArrieroError


class ModelError(ArrieroError):
    """A model cannot be loaded, or failed while generating."""


class ContextOverflow(ModelError):
    """The prompt does not fit the model's context."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Defaults are those that Meta publishes for Llama 3.x Instruct (generation_config: temperature 0.6, top_p
    0.9). Temperature 0 is greedy. ``top_k`` 0 and ``min_p`` 0 switch these filters off. ``seed`` None draws
    one. ``logprobs`` asks for the log-probability of each chosen token and for that many of the likeliest
    ones (0 to 100; None, the default, for none at all).
    """

    temperature: float = 0.6
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    logprobs: int | None = None


class TopToken(NamedTuple):
    """One of the likeliest tokens at a place: ``logprob`` is natural, of the model's own distribution."""

    id: int
    text: str
    logprob: float


class Token(NamedTuple):
    """One sampled token.

    ``text`` is what it adds to the text so far ("" while a UTF-8 character is incomplete; control tokens have
    their name, such as ``<|python_tag|>``). ``stop`` is set on the token that ends the message: ``eot``,
    ``eom`` or ``eos``. It is the last one and belongs to the transcript. ``logprob`` and ``top``, likeliest
    first, are there if Sampling asked for them: natural logarithms of the model's own probabilities, before
    temperature, filters and constraints.
    """

    id: int
    text: str
    stop: str | None = None
    logprob: float | None = None
    top: tuple[TopToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a message may be; a model that ``constrains`` masks its sampling so that it is nothing else.

    A call that the message opens is one of ``tools``, complete, with arguments that fit the tool's schema; prose
    stays free until then. ``answer`` is the JSON schema that a message without a call has as a whole (None: any
    text). ``required`` says that the message must be a call.
    """

    tools: tuple[ToolSpec, ...] = ()
    answer: Mapping[str, Any] | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a model is with what it generates: ``read`` of ``prompt`` tokens, then ``written`` ones.

    What it remembered of a prompt counts as read. Of several generations these are the sums.
    """

    read: int
    prompt: int
    written: int = 0

    def __add__(self, other: "Progress") -> "Progress":
        return Progress(self.read + other.read, self.prompt + other.prompt, self.written + other.written)


@runtime_checkable
class TellsProgress(Protocol):
    """A model that can be asked, while it generates, how far it is."""

    def progress(self) -> Progress | None:
        """From any thread, at any time; None while nothing is generated, or it is not known."""
        ...


class Model(Protocol):
    """A language model that continues token sequences.

    ``dialect`` names the wire form to use by default; ``context_length`` is in tokens. ``constrains`` says
    whether ``generate`` holds to the constraint that it is given; a model that does not ignores it.
    """

    @property
    def name(self) -> str: ...
    @property
    def dialect(self) -> str: ...
    @property
    def context_length(self) -> int: ...
    @property
    def constrains(self) -> bool: ...

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Token ids of the segments; plain ones are encoded with special parsing off."""
        ...

    def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        """Sampled continuation of ``tokens`` up to and including a stop token, or ``max_tokens`` tokens.

        Closing the iterator stops generation. Raises ContextOverflow and ModelError.
        """
        ...

    async def aclose(self) -> None:
        """Free the model; it is safe to call twice."""
        ...
