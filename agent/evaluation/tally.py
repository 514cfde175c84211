"""What came of the cases of a suite, one by one and together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from arriero.prompts import ToolCall


class Known(Protocol):
    """A case of any suite."""

    @property
    def id(self) -> str: ...
    @property
    def category(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Score:
    """What came of one case; ``problem`` is empty where all was right. Of suites that carry calls out, ``right`` of
    ``expected`` calls gave the result that they give in the suite.
    """

    case: Known
    calls: Sequence[ToolCall]
    problem: str
    right: int = 0
    expected: int = 0


@dataclass(slots=True)
class Tally:
    """Right cases of all, and what was wrong with the others; right calls of all, where calls are carried out."""

    right: int = 0
    total: int = 0
    calls_right: int = 0
    calls: int = 0
    wrong: list[Score] = field(default_factory=list)

    def add(self, score: Score) -> None:
        """Count one case."""
        self.total += 1
        self.right += not score.problem
        self.calls_right += score.right
        self.calls += score.expected
        if score.problem:
            self.wrong.append(score)

    @classmethod
    def sum(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Several as one."""
        whole = cls()
        for tally in tallies:
            whole.right, whole.total = whole.right + tally.right, whole.total + tally.total
            whole.calls_right, whole.calls = whole.calls_right + tally.calls_right, whole.calls + tally.calls
            whole.wrong += tally.wrong
        return whole
