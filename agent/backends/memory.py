"""Which conversations an engine remembers, and where: in a sequence of the context, or parked."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from .base import ModelError
from .context import Context
from .generation import EngineStats
from .llama_lib import LOGGER
from .parking import Parking
from .settings import EngineSettings
from .slots import PIECE, Choice, Slot, choose, least_used

FIRST_LENGTH = 2048  # tokens of a stream at first; it doubles when a conversation needs more


@dataclass(frozen=True, slots=True)
class Seat:
    """A slot that holds the first ``matched`` tokens of a prompt; ``carried`` after them were written there."""

    slot: Slot
    matched: int
    carried: int


class Memory:
    """Finds for each prompt what is known of it already; for one thread.

    A prompt goes on in the sequence that it continues, in a copy of one whose head it shares, or in one that is
    brought back from the parking. What gives way to it is parked. Raises ModelError when the first context
    cannot be made.
    """

    def __init__(
        self, new_context: Callable[[int], Context], settings: EngineSettings, stats: EngineStats
    ) -> None:
        self._new_context = new_context
        self._settings = settings
        self._stats = stats
        self._slots = [Slot(index) for index in range(settings.sequences)]
        self._parking = Parking(settings.parked_bytes, settings.parked_folder, settings.folder_bytes)
        self._clock = itertools.count(1)
        self.context = new_context(min(settings.length, FIRST_LENGTH))

    @property
    def full(self) -> bool:
        """Whether all slots are busy."""
        return all(slot.busy for slot in self._slots)

    def seat(self, prompt: list[int]) -> Seat:
        """A slot made ready and busy for ``prompt``. Raises ModelError, also where memory is ``full``."""
        choice = choose(self._slots, prompt, self.context.length)
        if choice is None:
            raise ModelError("all sequences of the context are in use")
        self.ensure_room(len(prompt))
        slot, matched = self._restore(prompt, choice) or self._reuse(prompt, choice)
        if self._settings.deterministic:
            matched = min(matched, slot.exact) // PIECE * PIECE
        carried = slot.carried(prompt, matched)
        if not self.context.truncate(slot.id, matched):
            self.context.truncate(slot.id, 0)
            matched, carried = 0, 0
        slot.hold(prompt[:matched], exact=slot.exact)
        slot.used, slot.busy = next(self._clock), True
        self._stats.reused_tokens += matched
        return Seat(slot, matched, carried)

    def ensure_room(self, needed: int) -> None:
        """Move all sequences to a larger context if a stream cannot hold ``needed`` tokens. Raises ModelError."""
        length = self.context.length
        if needed <= length:
            return
        while length < needed:
            length *= 2
        larger = self._new_context(min(length, self._settings.length))
        for slot in self._slots:
            if slot.tokens:
                larger.restore(slot.id, self.context.save(slot.id))
        self.context.close()
        self.context = larger
        self._stats.growths += 1

    def close(self) -> None:
        self._parking.close()
        self.context.close()

    def _reuse(self, prompt: list[int], choice: Choice) -> tuple[Slot, int]:
        """Ready the slot of a choice; returns it and how many of its tokens stay."""
        slot = choice.slot
        self._park(slot, slot.match(prompt))
        if choice.donor:
            self.context.copy(choice.donor.id, slot.id)
            slot.hold(choice.donor.tokens, choice.donor.owed, choice.donor.exact)
            self._stats.copies += 1
        return slot, choice.matched

    def _restore(self, prompt: list[int], choice: Choice) -> tuple[Slot, int] | None:
        """Bring a parked conversation back if it knows much more of the prompt than the choice does."""
        found = self._parking.find(prompt, choice.matched)
        if found is None:
            return None
        parked, matched = found
        state, slot = parked.read(), least_used(self._slots)
        if state is None:
            self._parking.discard(parked)
            return None
        self.ensure_room(len(parked.tokens))
        self._parking.use(parked, matched)
        self._park(slot, slot.match(prompt))
        self.context.truncate(slot.id, 0)
        slot.hold()
        try:
            self.context.restore(slot.id, state)
        except ModelError as error:
            LOGGER.warning("a parked conversation is lost and will be computed again: %s", error)
            self._parking.discard(parked)
            return slot, 0
        slot.hold(parked.tokens, parked.owed, parked.exact)
        self._stats.restored += 1
        return slot, matched

    def _park(self, slot: Slot, matched: int) -> None:
        if self._settings.parked_bytes and self._parking.worth(slot, matched):
            self._parking.add(slot, self.context.save(slot.id))
            self._stats.parked += 1
