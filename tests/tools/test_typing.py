"""A typical use of tools passes a strict type checker."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).with_name("typed_tools.py")
ROOT = Path(__file__).parents[2]


def test_the_sample_runs() -> None:
    sample = runpy.run_path(str(SAMPLE))
    assert (sample["cost"], sample["answer"]) == (2.5, "Hi.")
    sample["agent"].close()


def test_mypy_accepts_the_sample() -> None:
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(SAMPLE)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
