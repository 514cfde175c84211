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
    "sessions.py": "found:",
    "approval.py": "approval\npay {'sum': 700, 'to': 'Ana'}\nAna has her 700.\n",
    "agents.py": "Oslo has 717,710 inhabitants.\n2 calls\n",
    "many_tasks.py": "9 characters\n10 characters\n11 characters\n12 characters\n13 characters\n14 characters\n",
    "replay.py": "It rains.\n",
}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_example_runs(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        cwd=tmp_path,
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
