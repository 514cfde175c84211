"""Speculative decoding by prompt lookup: what came after the same words before is computed ahead, and checked.

Answers of tool loops copy what tools said. Tokens that are guessed right cost a share of a decode; what is sampled
is what would have been sampled anyway, since each row is sampled from its own logits.
"""

import math
import time
from collections.abc import Callable, Sequence

from .context import Context
from .settings import MOST_GUESSES

_ROWS = (4, 8, MOST_GUESSES + 1)  # what kernels of processors compute well; measured: 3 rows cost more than 4
MOST_COST = 1.35  # of a decode of one row; copied text yields 1.6 to 3.6 tokens a decode
_SLOWEST = 0.1  # seconds for one row; on what is slower, the measurement would delay loading
_GRAM = 3  # tokens that must be the same
_LONGEST_PAUSE = 32


def rows_that_pay(context: Context, clock: Callable[[], float] = time.perf_counter) -> int:
    """The most rows that a decode can check at little more than the cost of one; 1 if that is never so.

    Uses, and leaves empty, the first sequence.
    """

    def timed(rows: int) -> float:
        begun = clock()
        context.add(0, [0] * rows, 0, outputs=rows)
        computed = context.decode() == 0
        if computed:
            context.logits(rows - 1)  # waits for a GPU
        taken = clock() - begun
        context.truncate(0, 0)
        return taken if computed else math.inf

    timed(1)
    one = min(timed(1), timed(1))
    if one > _SLOWEST:
        return 1
    return max((rows for rows in _ROWS if timed(rows) <= MOST_COST * one), default=1)


class Drafter:
    """Guesses for one text; each token and each guess costs one look-up, however long the text is."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}
        self._pause = 0
        self._next_pause = 1
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """Note the next token of the text."""
        tokens = self._tokens
        if len(tokens) >= _GRAM:  # what ends the text has no continuation yet: it is noted one token later
            self._ends[tuple(tokens[-_GRAM:])] = len(tokens)
        tokens.append(token)
        self._pause = max(0, self._pause - 1)

    def guess(self, most: int) -> list[int]:
        """Up to ``most`` tokens that followed when the last few were written before; a loop is taken to go on."""
        if self._pause or most < 1:
            return []
        start = self._ends.get(tuple(self._tokens[-_GRAM:]))
        if start is None:
            return []
        known = self._tokens[start : start + most]
        return (known * (most // len(known) + 1))[:most] if start + most > len(self._tokens) else known

    def judge(self, guessed: int, right: int) -> None:
        """Learn from a guess: after useless ones there is a pause, each longer than the one before."""
        if 2 * right >= guessed:
            self._next_pause = 1
        elif right == 0:
            self._pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)
