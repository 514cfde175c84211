"""What goes into the next decode: rows of all conversations that generate, and guesses of what one says next."""

import itertools
from collections.abc import Sequence

from .context import BATCH
from .generation import Generation, Part
from .memory import Memory
from .settings import EngineSettings
from .slots import PIECE

SHARED_CHUNK = 128  # rows of prompt in one decode while other conversations are generating


class Batcher:
    """Fills the batch of a memory's context; ``rows`` is how many are worth computing for one conversation."""

    def __init__(self, memory: Memory, settings: EngineSettings, rows: int) -> None:
        self._memory = memory
        self._one_at_a_time = settings.deterministic
        self._rows = rows
        self._turns = itertools.count(1)

    @property
    def guesses(self) -> bool:
        """Whether guesses are computed ahead."""
        return self._rows > 1

    def fill(self, running: Sequence[Generation], most: int = BATCH) -> list[Part]:
        """Rows for all running generations: first those that write, then prompts, fairly, ``most`` of these."""
        if self._one_at_a_time:
            return self._one(running)
        if len(running) == 1 and not running[0].prefilling:
            alone = running[0]
            return [self._add(alone, min(BATCH, len(alone.pending)), self._guess(alone))]
        writing = [one for one in running if not one.prefilling]
        reading = [one for one in running if one.prefilling]
        share = BATCH // max(1, len(writing))
        parts = [self._add(one, min(share, len(one.pending))) for one in writing]
        budget = min(SHARED_CHUNK, BATCH - sum(part.count for part in parts)) if parts else most
        for index, one in enumerate(reading):
            share = budget // (len(reading) - index)
            if share:
                parts.append(self._add(one, min(share, len(one.pending))))
                budget -= parts[-1].count
        return parts

    def _one(self, running: Sequence[Generation]) -> list[Part]:
        """Rows of one generation, in turns; prompts in pieces that end at multiples of ``PIECE``."""
        one = min(running, key=lambda one: one.turn, default=None)
        if one is None or one.slot is None:
            return []
        one.turn = next(self._turns)
        count = len(one.pending)
        if one.prefilling:
            count = min(count, PIECE - len(one.slot.tokens) % PIECE)
        return [self._add(one, min(count, BATCH))]

    def _guess(self, generation: Generation) -> list[int]:
        """What the text is likely to say next, as far as there is room for it."""
        slot, drafter = generation.slot, generation.drafter
        if drafter is None or slot is None:
            return []
        room = self._memory.context.length - len(slot.tokens) - len(generation.pending)
        if generation.max_tokens is not None:
            room = min(room, generation.max_tokens - generation.produced - 1)
        return drafter.guess(min(room, self._rows - len(generation.pending)))

    def _add(self, generation: Generation, count: int, guesses: Sequence[int] = ()) -> Part:
        slot = generation.slot
        assert slot is not None
        ends = count == len(generation.pending)
        guessed = list(guesses) if ends else []
        rows = generation.pending[:count] + guessed
        last = self._memory.context.add(slot.id, rows, len(slot.tokens), outputs=(1 + len(guessed)) * ends)
        return Part(generation, slot, count, last - len(guessed) if ends else None, guessed)
