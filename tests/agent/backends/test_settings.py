"""Settings of the engine that change how it computes, and not what: long contexts, caches, flash attention."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arriero.agent.backends import ContextOverflow, ModelError, Sampling
from arriero.agent.backends.engine import Engine
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.backends.settings import EngineSettings

from .test_engine import Sink
from .tiny_gguf import HEADS, WIDTH, write_tiny_gguf

PROMPT = [(index * 7 + index // 9) % 256 for index in range(300)]
LONG = 131_072


@pytest.fixture
def make(request: pytest.FixtureRequest, tiny: Path) -> Callable[..., Engine]:
    def build(path: Path = tiny, **settings: object) -> Engine:
        engine = Engine(GGUFInfo.read(path), EngineSettings(**{"length": 4096, **settings}))  # type: ignore[arg-type]
        request.addfinalizer(engine.close)
        return engine

    return build


def likeliest(engine: Engine, prompt: list[int] = PROMPT) -> dict[int, float]:
    """Log-probabilities behind a prompt, of the fifty likeliest tokens."""
    sink = Sink()
    engine.submit(prompt, Sampling(temperature=0, logprobs=50), sink.items.put, max_tokens=1)
    (written,) = sink.all()
    return {top.id: top.logprob for top in written.top}


def apart(one: dict[int, float], other: dict[int, float]) -> float:
    return max(abs(one[token] - other[token]) for token in one.keys() & other.keys())


@pytest.mark.parametrize(
    ("settings", "near"),
    [
        ({"flash_attention": True}, 0.1),
        ({"flash_attention": False}, 0.0),
        ({"cache_type": "q8_0"}, 0.2),
        ({"cache_type": "q4_0"}, 1.5),
        ({"sequences": 3, "threads": 2}, 0.01),
    ],
)
def test_the_same_model_however_it_is_computed(
    make: Callable[..., Engine], settings: dict[str, object], near: float
) -> None:
    plain, other = likeliest(make()), likeliest(make(**settings))
    assert len(plain.keys() & other.keys()) > 40
    assert apart(plain, other) <= near
    assert apart(plain, likeliest(make(), PROMPT[:-1])) > 1.5  # what another prompt gives is further away


def factors(path: Path, values: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> Path:
    """A model whose file scales the frequencies of positions, as those of Llama 3.1 do."""
    return write_tiny_gguf(path, context_length=LONG, tensors={"rope_freqs.weight": values})


def test_positions_are_scaled_as_the_file_says(make: Callable[..., Engine], tmp_path: Path) -> None:
    half = WIDTH // HEADS // 2
    plain = likeliest(make())
    unscaled = likeliest(make(factors(tmp_path / "one.gguf", np.ones(half, np.float32))))
    assert apart(plain, unscaled) == 0.0
    scaled = make(factors(tmp_path / "eight.gguf", np.full(half, 8, np.float32)))
    assert apart(plain, likeliest(scaled)) > 0.1
    assert apart(likeliest(make(), [5]), likeliest(scaled, [5])) == 0.0  # position 0 has no angle


def test_contexts_of_131072_tokens(make: Callable[..., Engine], tmp_path: Path) -> None:
    path = factors(tmp_path / "m.gguf", np.ones(WIDTH // HEADS // 2, np.float32))
    engine = make(path, length=LONG)
    small = engine._memory.context.length
    assert small == 2048  # memory is taken only as conversations grow
    with pytest.raises(ContextOverflow, match=r"131073 tokens and the context holds 131072"):
        likeliest(engine, [1] * (LONG + 1))
    engine._memory.ensure_room(LONG)  # on this thread: the engine's waits
    assert engine._memory.context.length == LONG
    assert likeliest(engine) == likeliest(make())
    with pytest.raises(ModelError, match="131073 tokens is more than the 131072 that tiny was trained for"):
        make(path, length=LONG + 1)


def test_a_quantised_cache_needs_flash_attention(make: Callable[..., Engine]) -> None:
    with pytest.raises(ModelError, match="a q8_0 cache needs flash attention"):
        make(cache_type="q8_0", flash_attention=False)
    with pytest.raises(ModelError, match="cache_type must be one of f16, q8_0, q4_0"):
        make(cache_type="q5_1")
