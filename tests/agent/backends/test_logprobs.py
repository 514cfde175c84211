"""Log-probabilities: their arithmetic, and what the engine tells of them."""

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.agent.backends import ModelError, Sampling, Token
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.backends.logprobs import log_probabilities


def generate(model: LlamaCppModel, tokens: list[int], sampling: Sampling, count: int) -> list[Token]:
    async def main() -> list[Token]:
        return [token async for token in model.generate(tokens, sampling, max_tokens=count)]

    return asyncio.run(main())


@given(logits=st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=40), count=st.integers(0, 50))
def test_what_a_row_says(logits: list[float], count: int) -> None:
    found = log_probabilities(np.array(logits, dtype=np.float32), 0, count)
    total = math.log(sum(math.exp(value - max(logits)) for value in logits)) + max(logits)
    assert found.chosen == pytest.approx(logits[0] - total, abs=1e-6)
    ranked = sorted(range(len(logits)), key=lambda index: (-logits[index], index))[:count]
    assert [token for token, _ in found.top] == ranked
    assert [value for _, value in found.top] == pytest.approx([logits[i] - total for i in ranked], abs=1e-6)


def test_huge_logits_do_not_overflow() -> None:
    found = log_probabilities(np.array([3e38, 0, -3e38], dtype=np.float32), 0, 2)
    assert found.chosen == 0
    assert found.top[0] == (0, 0.0)


def test_none_unless_asked_for(model: LlamaCppModel) -> None:
    token = generate(model, [90, 91], Sampling(temperature=0), 1)[0]
    assert (token.logprob, token.top) == (None, ())


def test_greedy_takes_the_likeliest(model: LlamaCppModel) -> None:
    for token in generate(model, [92, 93], Sampling(temperature=0, logprobs=5), 4):
        assert len(token.top) == 5
        assert (token.top[0].id, token.top[0].logprob) == (token.id, token.logprob)
        values = [top.logprob for top in token.top]
        assert values == sorted(values, reverse=True)
        assert all(top.text == model.engine.vocab.text(top.id) for top in token.top)


def test_they_are_the_models_own_whatever_the_filters(model: LlamaCppModel) -> None:
    plain = generate(model, [94, 95], Sampling(temperature=0, logprobs=100), 1)[0]
    odd = generate(model, [94, 95], Sampling(temperature=3.0, top_k=2, seed=1, logprobs=0), 1)[0]
    known = {top.id: top.logprob for top in plain.top}
    assert odd.logprob == pytest.approx(known[odd.id], abs=1e-4)
    assert odd.top == ()
    assert sum(math.exp(value) for value in known.values()) <= 1.0001


@pytest.mark.parametrize("count", [-1, 101])
def test_counts_that_cannot_be(model: LlamaCppModel, count: int) -> None:
    with pytest.raises(ModelError, match=f"from 0 to 100, not {count}"):
        generate(model, [1], Sampling(logprobs=count), 1)
