"""Which of a server's slots a prompt goes to: the one whose cache begins like it."""

import threading
from collections.abc import Sequence

_LEAST = 0.5  # part of a slot's cache that must be of use, where another slot could be taken


class Slots:
    """What each slot of a server was last sent, as far as this process knows.

    A server keeps one prompt in each slot; sending a conversation to another slot each time would make it read
    everything again.
    """

    def __init__(self, number: int) -> None:
        self._seen: list[list[int]] = [[] for _ in range(number)]
        self._busy = [False] * number
        self._used = list(range(-number, 0))
        self._time = 0
        self._lock = threading.Lock()

    def take(self, tokens: Sequence[int]) -> int | None:
        """The free slot that has most of the prompt, else the one unused for longest; None: let the server say."""
        with self._lock:
            free = [slot for slot, busy in enumerate(self._busy) if not busy]
            if not free:
                return None
            prompt = list(tokens)
            shared = {slot: common(self._seen[slot], prompt) for slot in free}
            useful = [slot for slot in free if shared[slot] > _LEAST * len(self._seen[slot])]
            best, by = (
                (useful, lambda slot: -shared[slot]) if useful else (free, lambda slot: self._used[slot])
            )
            slot = min(best, key=by)
            self._busy[slot] = True
            return slot

    def give_back(self, slot: int | None, tokens: Sequence[int]) -> None:
        """Say what the slot has read and written."""
        if slot is None:
            return
        with self._lock:
            self._time += 1
            self._used[slot] = self._time
            self._seen[slot] = list(tokens)
            self._busy[slot] = False


def common(one: list[int], other: list[int]) -> int:
    """How many items two lists share at their heads."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
