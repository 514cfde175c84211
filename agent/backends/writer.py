"""What comes out of a decode: the next tokens of every conversation that writes."""

from collections.abc import Callable
from typing import Any

from .base import ModelError, TopToken
from .generation import EngineStats, Generation, Part, Written
from .logprobs import log_probabilities
from .memory import Memory, Seat
from .sampler import GuidedSampler, make_sampler
from .slots import PIECE, Slot
from .speculation import Drafter
from .vocab import Vocab

Finish = Callable[[Generation, ModelError | None], None]


class Writer:
    """Samples from the logits of a memory's context, and delivers; for one thread.

    A conversation has up to ``length`` tokens. ``guesses`` says that what a text is likely to say next is computed
    ahead. ``finish`` is told of a generation that has ended, and of the error that ended it.
    """

    def __init__(
        self,
        lib: Any,
        vocab: Vocab,
        memory: Memory,
        stats: EngineStats,
        finish: Finish,
        *,
        length: int,
        guesses: bool,
    ) -> None:
        self._lib = lib
        self._vocab = vocab
        self._memory = memory
        self._stats = stats
        self._finish = finish
        self._length = length
        self._guesses = guesses

    def start(self, generation: Generation, seat: Seat) -> None:
        """Ready a generation to be read and written in its seat. Raises ModelError."""
        generation.slot = seat.slot
        generation.pending = self._checked(generation.prompt[seat.matched :])
        generation.carried = seat.carried
        sampler = make_sampler(self._lib, generation.sampling)
        guide = generation.guide
        generation.sampler = GuidedSampler(sampler, guide, self._vocab.size) if guide else sampler
        if self._guesses:
            generation.drafter = Drafter(generation.prompt)

    def _checked(self, tokens: list[int]) -> list[int]:
        """Tokens that are new to the memory: llama.cpp would end the process on one that the vocabulary lacks."""
        if min(tokens) < 0 or max(tokens) >= self._vocab.size:
            outside = next(token for token in tokens if not 0 <= token < self._vocab.size)
            raise ModelError(f"token id {outside} is outside of the vocabulary of {self._vocab.size}")
        return tokens

    def take(self, part: Part) -> None:
        """Note what a decode has put into memory, and write on where it gave logits."""
        generation, slot = part.generation, part.slot
        if generation.prefilling and slot.exact == len(slot.tokens) and part.count == PIECE:
            slot.exact += PIECE
        slot.tokens += generation.pending[: part.count]
        del generation.pending[: part.count]
        if generation.prefilling:
            carried = min(part.count, generation.carried)
            self._stats.prefilled_tokens += part.count - carried
            self._stats.decoded_tokens += carried
            generation.carried -= carried
        else:
            self._stats.decoded_tokens += part.count
        if part.row is not None and not generation.cancelled:
            self._sample_part(part, part.row)

    def _sample_part(self, part: Part, row: int) -> None:
        """Sample behind the pending tokens, and behind each guess for as long as the guesses are right."""
        generation, slot, right = part.generation, part.slot, 0
        while self._sample(generation, slot, row + right) and right < len(part.guesses):
            if generation.cancelled or generation.pending != [part.guesses[right]]:
                break
            slot.tokens += generation.pending
            generation.pending.clear()
            right += 1
        if part.guesses:
            self._memory.context.truncate(slot.id, len(slot.tokens))
            self._stats.decoded_tokens += right
            self._stats.guessed_tokens += len(part.guesses)
            self._stats.guessed_right += right
            if generation.drafter:
                generation.drafter.judge(len(part.guesses), right)

    def go_on(self, generation: Generation, slot: Slot) -> bool:
        """The same for one that writes alone and has decoded its only pending token; False if it has ended."""
        slot.tokens.append(generation.pending.pop())
        self._stats.decoded_tokens += 1
        return not generation.cancelled and self._sample(generation, slot, 0)

    def _sample(self, generation: Generation, slot: Slot, row: int) -> bool:
        """Choose a token from a row's logits, and write it; False if the generation has ended."""
        assert generation.sampler is not None
        if generation.max_tokens == 0:  # the prompt was to be read and no more
            self._finish(generation, None)
            return False
        wanted = generation.sampling.logprobs
        try:
            token = generation.sampler.sample(self._memory.context, row)
            # What must come next is known before it is computed: it goes into the same decode.
            forced = generation.guide.forced() if generation.guide and wanted is None else []
        except ModelError as error:
            self._finish(generation, error)
            return False
        self._stats.sampled_tokens += 1
        self._stats.forced_tokens += len(forced)
        logprob, top = self._logprobs(wanted, row, token)
        goes_on = self._write(generation, slot, token, logprob, top)
        for token in forced:
            goes_on = goes_on and self._write(generation, slot, token)
        return goes_on

    def _write(
        self,
        generation: Generation,
        slot: Slot,
        token: int,
        logprob: float | None = None,
        top: tuple[TopToken, ...] = (),
    ) -> bool:
        """Append one token; False if it is the last one."""
        generation.produced += 1
        generation.pending.append(token)
        if generation.drafter:
            generation.drafter.add(token)
        stop = self._vocab.stop_kind(token)
        length = len(slot.tokens) + len(generation.pending)
        full = length > self._length or generation.produced == generation.max_tokens
        last = full or stop is not None
        generation.hand(Written(token, stop, last, logprob, top))
        if last:
            self._finish(generation, None)
        return not last

    def _logprobs(
        self, wanted: int | None, row: int, token: int
    ) -> tuple[float | None, tuple[TopToken, ...]]:
        if wanted is None:
            return None, ()
        found = log_probabilities(self._memory.context.logits(row), token, wanted)
        text = self._vocab.text
        return found.chosen, tuple(TopToken(one, text(one), logprob) for one, logprob in found.top)
