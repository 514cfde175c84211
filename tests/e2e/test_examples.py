"""Every example does what its first line says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
WANTED = {
    "quickstart.py": "1081",
    "own_function.py": "ipython: 3",
    "events.py": '"stop_reason":"final"',
}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_example_runs(name: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert WANTED[name] in done.stdout
    assert done.stderr == ""


def test_no_example_is_left_out() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith(("test_", "__"))}
    assert scripts == set(WANTED)


def test_the_example_of_a_test_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", EXAMPLES / "test_your_agent.py"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
