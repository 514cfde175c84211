"""Fixtures for the tests of tools: no proxy between the tests and their loopback servers."""

import sys
from pathlib import Path

import pytest

# Test modules are not packages; this lets them share `loopback` and the conformance checks.
_here = Path(__file__).parent
sys.path[:0] = [str(_here), str(_here.parent / "conformance")]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "all"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)
