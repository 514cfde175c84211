"""One request on its way through the engine, and what the engine counts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from .base import ModelError, Progress, Sampling, TopToken
from .grammar.guide import Guide
from .sampler import Sampler
from .slots import Slot
from .speculation import Drafter


class Written(NamedTuple):
    """A token as the engine delivers it: what text it adds is worked out by who reads it, several at a time.

    ``last`` is set on the one behind which nothing more comes; the rest is as in Token.
    """

    id: int
    stop: str | None = None
    last: bool = False
    logprob: float | None = None
    top: tuple[TopToken, ...] = ()


Delivery = Callable[[Written | ModelError | None], None]


@dataclass(slots=True)
class EngineStats:
    """Counts since the engine started.

    ``prefilled_tokens`` are prompt tokens that had to be decoded, without the last sampled token of the
    conversation: that one is decoded when the conversation goes on, and counts in ``decoded_tokens`` with
    all other sampled tokens that were decoded. So a step whose prompt is the transcript so far (prompt and
    sampled tokens) and n more tokens adds exactly n. A prompt that is wholly in memory costs one: its last
    token gives the logits. ``reused_tokens`` are prompt tokens that needed no decoding. ``forced_tokens`` are
    those of an answer that a constraint left no choice about: they were not sampled. ``guessed_tokens`` were
    computed ahead, and ``guessed_right`` of those were right. ``parked`` and ``restored`` count conversations
    whose keys and values were moved out of the context and back.
    """

    prefilled_tokens: int = 0
    reused_tokens: int = 0
    decoded_tokens: int = 0
    sampled_tokens: int = 0
    forced_tokens: int = 0
    decodes: int = 0
    copies: int = 0
    growths: int = 0
    guessed_tokens: int = 0
    guessed_right: int = 0
    parked: int = 0
    restored: int = 0


@dataclass(slots=True, eq=False)
class Generation:
    """One request on its way through the engine.

    ``pending`` tokens are to be decoded next: first the prompt's, then each sampled one. ``carried`` of them
    were sampled in an earlier request. ``guide`` holds it to a constraint. ``turn`` is when it was last computed.
    """

    prompt: list[int]
    sampling: Sampling
    max_tokens: int | None
    deliver: Delivery
    guide: Guide | None = None
    cancelled: bool = False
    slot: Slot | None = None
    pending: list[int] = field(default_factory=list)
    carried: int = 0
    turn: int = 0
    produced: int = 0
    sampler: Sampler | None = None
    drafter: Drafter | None = None

    @property
    def prefilling(self) -> bool:
        return self.produced == 0

    @property
    def progress(self) -> Progress:
        """How far it is; for any thread."""
        read = 0 if self.slot is None else len(self.prompt) - len(self.pending)
        return Progress(len(self.prompt) if self.produced else max(0, read), len(self.prompt), self.produced)

    def hand(self, item: Written | ModelError | None) -> None:
        """Deliver, unless nobody waits any more; a receiver that is gone cancels."""
        if self.cancelled:
            return
        try:
            self.deliver(item)
        except RuntimeError:
            self.cancelled = True


@dataclass(frozen=True, slots=True)
class Part:
    """What one generation has in a batch: ``count`` pending tokens, and ``guesses`` of what follows them.

    ``row`` is where the logits of the last pending token will be, if it is among them; those of the guesses
    follow.
    """

    generation: Generation
    slot: Slot
    count: int
    row: int | None
    guesses: list[int]
