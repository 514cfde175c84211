"""A deterministic engine gives the tokens of a request whatever else it does, before or meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest

from arriero.agent.backends import Sampling
from arriero.agent.backends.engine import Engine
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.backends.settings import EngineSettings

from .test_engine import Sink, run

WARM = Sampling(temperature=1.2, top_p=1.0, seed=3, logprobs=0)
PROMPTS = [[(index * step + index // 7) % 256 for index in range(150 + 37 * step)] for step in (3, 5, 7)]


@pytest.fixture
def make(request: pytest.FixtureRequest, tiny: Path) -> Callable[..., Engine]:
    def build(**settings: object) -> Engine:
        settings = {"length": 4096, "deterministic": True, **settings}
        engine = Engine(GGUFInfo.read(tiny), EngineSettings(**settings))  # type: ignore[arg-type]
        request.addfinalizer(engine.close)
        return engine

    return build


def logprobs(engine: Engine, prompts: list[list[int]], count: int) -> list[list[tuple[int, float | None]]]:
    """Tokens with log-probabilities, which tell more than tokens: of all prompts at once."""
    sinks = [Sink() for _ in prompts]
    for prompt, sink in zip(prompts, sinks, strict=True):
        engine.submit(prompt, WARM, sink.items.put, max_tokens=count)
    return [[(token.id, token.logprob) for token in sink.all()] for sink in sinks]


def test_alone_and_in_company(make: Callable[..., Engine]) -> None:
    alone = [logprobs(make(), [prompt], 20)[0] for prompt in PROMPTS]
    assert logprobs(make(sequences=3), PROMPTS, 20) == alone
    assert logprobs(make(sequences=2), PROMPTS[::-1], 20)[::-1] == alone


def test_company_changes_little_otherwise(make: Callable[..., Engine]) -> None:
    alone = [logprobs(make(), [prompt], 1)[0] for prompt in PROMPTS]
    together = logprobs(make(deterministic=False, sequences=3), PROMPTS, 1)
    for [(token, one)], [(other_token, other)] in zip(alone, together, strict=True):
        assert token == other_token
        assert one is not None
        assert other is not None
        assert abs(one - other) < 1e-4  # not equal to the bit: measured 1e-6


def test_whatever_was_known_before(make: Callable[..., Engine]) -> None:
    prompt = PROMPTS[2]
    fresh = logprobs(make(), [prompt], 10)
    engine = make(sequences=2)
    run(engine, prompt[:200], max_tokens=30)
    run(engine, [*prompt[:140], 1, 2, 3], max_tokens=2)
    assert logprobs(engine, [prompt], 10) == fresh
    assert logprobs(engine, [prompt], 10) == fresh
    # pieces of 128 are used again, and nothing but them
    before = engine.stats.prefilled_tokens
    logprobs(engine, [prompt], 10)
    assert engine.stats.prefilled_tokens - before == len(prompt) % 128


def test_whatever_has_grown_or_was_parked(make: Callable[..., Engine]) -> None:
    prompt = PROMPTS[1]
    fresh = logprobs(make(), [prompt], 10)
    engine = make()
    run(engine, prompt, max_tokens=3)
    run(engine, [7] * 2500, max_tokens=2)
    assert engine.stats.growths == 1
    assert logprobs(engine, [prompt], 10) == fresh
    assert engine.stats.restored == 1


def test_the_same_seed_gives_the_same_tokens(make: Callable[..., Engine]) -> None:
    engine = make(deterministic=False)
    first = run(engine, PROMPTS[0], max_tokens=20, sampling=WARM)
    # All of it is known now but for the last token, so the next two have one shape.
    again = [run(engine, PROMPTS[0], max_tokens=20, sampling=WARM) for _ in range(2)]
    assert again[0] == again[1]
    assert len(first) == 20


def test_all_progress(make: Callable[..., Engine]) -> None:
    engine = make(sequences=2)
    slow, quick = Sink(), Sink()
    engine.submit([1] * 3000, WARM, slow.items.put, max_tokens=1)
    engine.submit([2] * 10, WARM, quick.items.put, max_tokens=5)
    quick.all()
    assert engine.stats.prefilled_tokens < 2500
    slow.all()
