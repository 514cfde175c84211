"""Which sequence serves which request: what each one holds, and how much of it a prompt can use."""

from collections.abc import Sequence
from dataclasses import dataclass, field

PIECE = 128  # tokens; where a deterministic engine parts prompts, and down to which it keeps what it knows
COPY_MINIMUM = 32  # tokens; below that a copy saves too little
COPY_RATIO = 64  # a copy moves a whole stream: worth it from 1/64 of the stream's length on


@dataclass(slots=True, eq=False)
class Slot:
    """One sequence of a context.

    ``tokens`` are in its key-value memory. ``owed`` were written after them, and are decoded with whatever
    comes next, so they belong to the transcript but not yet to the memory. The first ``exact`` tokens were read
    in pieces that do not depend on what else ran. ``used`` orders slots by last use.
    """

    id: int
    tokens: list[int] = field(default_factory=list)
    owed: list[int] = field(default_factory=list)
    exact: int = 0
    used: int = 0
    busy: bool = False

    def hold(self, tokens: Sequence[int] = (), owed: Sequence[int] = (), exact: int = 0) -> None:
        """Note what is in memory now; nothing by default."""
        self.tokens, self.owed, self.exact = list(tokens), list(owed), min(exact, len(tokens))

    def match(self, prompt: Sequence[int]) -> int:
        """How many leading tokens of ``prompt`` are in memory; never all, since the last gives the logits."""
        return common_prefix(self.tokens, prompt, len(prompt) - 1)

    def carried(self, prompt: Sequence[int], matched: int) -> int:
        """How many tokens of ``prompt`` after the ``matched`` ones were written here and are still owed."""
        if matched < len(self.tokens):
            return 0
        return common_prefix(self.owed, prompt[matched:], len(self.owed))


@dataclass(frozen=True, slots=True)
class Choice:
    """Use ``slot`` with its first ``matched`` tokens, after copying ``donor`` into it if there is one."""

    slot: Slot
    matched: int
    donor: Slot | None = None


def choose(slots: Sequence[Slot], prompt: Sequence[int], length: int) -> Choice | None:
    """The slot for a prompt, or None while all are busy; ``length`` is a stream's capacity in tokens.

    A slot that the prompt continues goes on. Otherwise an empty slot is taken, or the one least recently
    used, and a common head is copied into it where that pays. A slot whose larger part the prompt shares is cut
    back instead when no slot is empty: that is a conversation that went another way.
    """
    idle = [slot for slot in slots if not slot.busy]
    if not idle:
        return None
    matches = {slot.id: slot.match(prompt) for slot in slots}
    best = max(idle, key=lambda slot: (matches[slot.id], slot.used))
    matched = matches[best.id]
    if matched >= len(best.tokens) - 1:  # an empty slot too, if nothing better is there
        return _with_donor(best, slots, matches, length)
    empty = next((slot for slot in idle if not slot.tokens), None)
    if empty is None and 2 * matched >= len(best.tokens):
        return Choice(best, matched)
    oldest = min(idle, key=lambda slot: slot.used)
    return _with_donor(empty or oldest, slots, matches, length)


def least_used(slots: Sequence[Slot]) -> Slot:
    """The idle slot that is empty, or was not used for the longest time."""
    return min((slot for slot in slots if not slot.busy), key=lambda slot: (bool(slot.tokens), slot.used))


def _with_donor(slot: Slot, slots: Sequence[Slot], matches: dict[int, int], length: int) -> Choice:
    donor = max(slots, key=lambda other: matches[other.id])
    gain = matches[donor.id] - matches[slot.id]
    if donor is not slot and gain >= max(COPY_MINIMUM, length // COPY_RATIO):
        return Choice(slot, matches[donor.id], donor)
    return Choice(slot, matches[slot.id])


def common_prefix(one: Sequence[int], other: Sequence[int], limit: int) -> int:
    """Length of the common head of two sequences, at most ``limit``; costs no more than that head is long."""
    low, high, step = 0, min(len(one), len(other), limit), 1  # the heads of length low are equal
    while low < high:
        end = min(low + step, high)
        if one[low:end] == other[low:end]:
            low, step = end, 2 * step
        elif step == 1:
            break
        else:
            high, step = end, 1
    return low
