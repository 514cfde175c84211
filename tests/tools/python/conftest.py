"""Sandboxes for the tests: one per level, kept for a whole module."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arriero.tools.python import Sandbox

sys.path.insert(0, str(Path(__file__).parent))  # test modules are not packages; they share `kernel`

from kernel import Kernel, needs


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    needs(request.param)
    made = Kernel(request.param)
    yield made
    made.close()


@pytest.fixture(scope="session")
def best_level() -> str:
    found = Sandbox.probe()
    if found.level is None:
        pytest.skip(f"no sandbox here: {found.reason}")
    return found.level
