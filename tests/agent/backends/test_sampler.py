"""How one token is chosen: straight from the logits, and under a guide that is asked about it first."""

from typing import Any, cast

import numpy as np
import pytest

from arriero.agent.backends import ModelError, Sampling
from arriero.agent.backends.context import Context
from arriero.agent.backends.grammar.guide import Guide
from arriero.agent.backends.sampler import GreedySampler, GuidedSampler, make_sampler


class Rows:
    """Stands for a context with these logits."""

    def __init__(self, *logits: float) -> None:
        self._logits = np.array(logits, np.float32)

    def logits(self, _row: int) -> Any:
        return self._logits


class Allowing:
    """Stands for a guide that accepts some tokens; it notes what it is asked."""

    def __init__(self, *allowed: int, held: bool = True) -> None:
        self._allowed, self._held = allowed, held
        self.asked: list[str] = []

    def accepts(self, token: int) -> bool:
        self.asked.append("accepts")
        return token in self._allowed

    def engage(self) -> bool:
        return self._held

    def allowed(self) -> Any:
        self.asked.append("allowed")
        return np.array(self._allowed)

    def refused(self, token: int) -> Any:
        return np.array([token])

    def take(self, token: int) -> None:
        self.asked.append(f"take {token}")


def choose(rows: Rows, guide: Allowing) -> int:
    sampler = GuidedSampler(GreedySampler(), cast(Guide, guide), 4)
    return sampler.sample(cast(Context, rows), 0)


def test_greedy_takes_the_first_of_the_likeliest() -> None:
    rows = cast(Context, Rows(0.0, 3.0, 1.0, 3.0))
    sampler = make_sampler(None, Sampling(temperature=0))
    assert sampler.sample(rows, 0) == 1
    assert sampler.sample_from(rows, 0, np.array([0, 2, 3])) == 3


def test_a_token_that_the_guide_accepts_costs_one_question() -> None:
    guide = Allowing(1, 2)
    assert choose(Rows(0.0, 3.0, 1.0, 2.0), guide) == 1
    assert guide.asked == ["accepts", "take 1"]  # nobody looked at the whole vocabulary


def test_a_token_that_is_refused_is_chosen_again_among_those_allowed() -> None:
    guide = Allowing(0, 2)
    assert choose(Rows(0.0, 3.0, 1.0, 2.0), guide) == 2
    assert guide.asked == ["accepts", "allowed", "take 2"]


def test_prose_that_would_open_a_call_wrongly_is_chosen_again_and_stays_prose() -> None:
    guide = Allowing(0, held=False)
    assert choose(Rows(0.0, 3.0, 1.0, 2.0), guide) == 0
    assert "allowed" not in guide.asked


@pytest.mark.parametrize("error", [ModelError("nothing is allowed"), RuntimeError("the matcher broke")])
def test_a_guide_that_fails_is_an_error_of_its_request(error: Exception) -> None:
    class Broken(Allowing):
        def accepts(self, token: int) -> bool:
            raise error

    with pytest.raises(ModelError, match=str(error)):
        choose(Rows(0.0, 1.0), Broken())
