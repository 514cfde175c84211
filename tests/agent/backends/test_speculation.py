"""Guesses that are computed ahead: where they come from, when they pay, and that they change nothing."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.agent.backends import Sampling
from arriero.agent.backends.engine import Engine
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.backends.settings import EngineSettings
from arriero.agent.backends.speculation import Drafter, rows_that_pay

from .test_engine import GREEDY, Sink, Z, run
from .tiny_gguf import token_id


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    def build(path: Path, **settings: object) -> Engine:
        engine = Engine(GGUFInfo.read(path), EngineSettings(**{"length": 4096, **settings}))  # type: ignore[arg-type]
        request.addfinalizer(engine.close)
        return engine

    return build


def test_a_text_that_repeats_itself_takes_fewer_decodes(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted, speculate=True)
    assert run(engine, [Z], max_tokens=100) == [Z] * 100
    assert engine.stats.guessed_right > 80
    assert engine.stats.decodes < 20
    assert engine.stats.decoded_tokens == 99
    # what was guessed wrong is not remembered
    before = engine.stats.prefilled_tokens
    assert run(engine, [*[Z] * 101, ord("a")]) == [ord("b"), token_id("<|eot_id|>")]
    assert engine.stats.prefilled_tokens - before == 1


def test_wrong_guesses_change_nothing(scripted: Path, make: Callable[..., Engine]) -> None:
    engine, plain = make(scripted, speculate=True), make(scripted, speculate=False)
    misleading = [*b"dxdxab", *b"q12cab", *b"d", *"é".encode(), 1, 2, *b"q12"]
    for end in b"adce":
        prompt = [*misleading, end]
        assert run(engine, prompt, max_tokens=30) == run(plain, prompt, max_tokens=30)
    assert plain.stats.guessed_tokens == 0


def test_other_settings_change_nothing_of_it(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted, speculate=True, length=40)
    assert run(engine, [Z] * 20) == [Z] * 21  # up to the end of the context
    sampling = Sampling(temperature=0.1, seed=1, logprobs=1)
    sink = Sink()
    engine.submit([Z] * 10, sampling, sink.items.put, max_tokens=7)
    tokens = sink.all()
    assert [token.id for token in tokens] == [Z] * 7
    assert all(token.logprob is not None and token.logprob > -1e-6 for token in tokens)


def test_several_at_once_do_without(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted, speculate=True, sequences=2)
    sinks = [Sink(), Sink()]
    for sink in sinks:
        engine.submit([Z], GREEDY, sink.items.put, max_tokens=60)
    assert all([token.id for token in sink.all()] == [Z] * 60 for sink in sinks)


def test_a_deterministic_engine_does_without(scripted: Path, make: Callable[..., Engine]) -> None:
    engine = make(scripted, speculate=True, deterministic=True)
    run(engine, [Z], max_tokens=20)
    assert engine.stats.guessed_tokens == 0


class Curve:
    """Stands for a context whose decodes take as long as the clock says."""

    def __init__(self, cost: Callable[[int], float]) -> None:
        self._cost = cost
        self._rows = 0
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def add(self, sequence: int, tokens: list[int], position: int, *, outputs: int) -> int:
        assert (sequence, position, outputs) == (0, 0, len(tokens))
        self._rows = len(tokens)
        return outputs - 1

    def decode(self) -> int:
        self.now += self._cost(self._rows)
        return 0

    def logits(self, row: int) -> None:
        pass

    def truncate(self, sequence: int, length: int) -> bool:
        return True


@pytest.mark.parametrize(
    ("cost", "rows"),
    [
        (lambda _rows: 0.01, 16),  # a GPU: nearly free
        (lambda rows: 0.01 * rows, 1),  # one thread: computing decides
        (lambda rows: 0.01 if rows < 8 else 0.03, 4),
        (lambda _rows: 0.5, 1),  # too slow to measure
    ],
)
def test_the_measured_curve_decides(cost: Callable[[int], float], rows: int) -> None:
    curve = Curve(cost)
    assert rows_that_pay(curve, curve.clock) == rows  # type: ignore[arg-type]


def test_the_curve_of_a_real_context(tiny: Path, make: Callable[..., Engine]) -> None:
    engine = make(tiny, threads=2)
    fresh = make(tiny, threads=2, speculate=False)
    assert run(engine, [1, 2, 3], max_tokens=4) == run(fresh, [1, 2, 3], max_tokens=4)


def guesses(tokens: list[int]) -> Iterator[list[int]]:
    drafter = Drafter([])
    for token in tokens:
        drafter.add(token)
        yield drafter.guess(4)


@given(st.lists(st.integers(0, 2), max_size=60))
def test_a_guess_is_what_followed_the_same_three_tokens_last_time(tokens: list[int]) -> None:
    for end, guess in enumerate(guesses(tokens), start=1):
        starts = [at + 3 for at in range(end - 3) if tokens[at : at + 3] == tokens[end - 3 : end]]
        if end < 3 or not starts:
            assert guess == []
        else:
            cycle = tokens[starts[-1] : end]
            assert guess == (cycle * 4)[:4]


def test_looking_back_costs_the_same_in_a_long_text() -> None:
    numbers = random.Random(0)

    def cost(length: int) -> float:
        drafter = Drafter([numbers.randrange(100) for _ in range(length)])
        begun = time.thread_time()
        for token in range(2000):
            drafter.add(token % 100)
            drafter.guess(15)
        return time.thread_time() - begun

    short, long = (min(cost(length) for _ in range(5)) for length in (1_000, 100_000))
    assert long < 10 * short  # reading the text again would be 100 times as much


def test_useless_guesses_lead_to_pauses() -> None:
    drafter = Drafter([1, 2, 3] * 3)
    pauses = []
    for _ in range(7):
        drafter.judge(len(drafter.guess(4)), 0)
        pauses.append(0)
        while not drafter.guess(4):
            drafter.add(1 + (len(drafter._tokens)) % 3)
            pauses[-1] += 1
    assert pauses == [1, 2, 4, 8, 16, 32, 32]
    drafter.judge(4, 4)
    drafter.judge(4, 0)
    drafter.add(1 + (len(drafter._tokens)) % 3)
    assert drafter.guess(4)
