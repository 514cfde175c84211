"""Tiny models, written once for all tests of this folder."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.backends.vocab import Vocab

from .tiny_gguf import token_id, write_tiny_gguf


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    return write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a fixed successor for each of a few tokens, so that messages end where they should."""
    chains = (
        ["a", "b", "<|eot_id|>"],
        ["c", "<|python_tag|>", "x", "<|eom_id|>"],
        [ord("d"), *"é😀".encode(), "<|end_of_text|>"],
        [ord("e"), *"€".encode()[:2], "<|eot_id|>"],
        ["z", "z"],
    )
    ids = [[link if isinstance(link, int) else token_id(link) for link in chain] for chain in chains]
    successors = {token: following for chain in ids for token, following in pairwise(chain)}
    return write_tiny_gguf(tmp_path_factory.mktemp("models") / "scripted.gguf", successors=successors)


@pytest.fixture(scope="session")
def vocab(tiny: Path) -> Iterator[Vocab]:
    loaded = Vocab.from_gguf(tiny)
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def model(tiny: Path) -> Iterator[LlamaCppModel]:
    """A model that tests share; each of them uses tokens of its own, and counts differences only."""
    loaded = LlamaCppModel(tiny, n_threads=1)
    yield loaded
    loaded.engine.close()
