"""What a guard needs of a language model; every backend of ``arriero.agent`` satisfies it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from arriero.prompts import Segment


@dataclass(frozen=True, slots=True)
class Greedy:
    """How a guard is sampled: always the likeliest token, with the ``logprobs`` likeliest at each place.

    The fields are those that backends read of their own sampling settings.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = 0
    logprobs: int | None = 20


class LikelyToken(Protocol):
    """One of the likeliest tokens at a place; ``logprob`` is natural, ``id`` -1 where a server tells only texts."""

    @property
    def id(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def logprob(self) -> float: ...


class GuardToken(Protocol):
    """One token that a guard wrote; ``stop`` is set on the one that ends the answer."""

    @property
    def id(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def stop(self) -> str | None: ...
    @property
    def top(self) -> Sequence[LikelyToken]: ...


class GuardModel(Protocol):
    """A language model that a guard asks for its verdict. Its methods may raise anything."""

    @property
    def name(self) -> str: ...
    @property
    def context_length(self) -> int: ...

    def tokenize(self, segments: Sequence[Segment]) -> list[int]: ...

    # ``sampling`` is a Greedy: each backend declares a type of its own with the same fields.
    def generate(
        self, tokens: Sequence[int], sampling: Any, *, max_tokens: int | None = None
    ) -> AsyncGenerator[Any, None]: ...

    async def aclose(self) -> None: ...
