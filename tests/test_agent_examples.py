"""The examples and pages about sessions, approval, agents, many tasks and replay, run as a user runs them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

EXPECTED = {
    "sessions": "found:",
    "approval": "approval\npay {'sum': 700, 'to': 'Ana'}\nAna has her 700.\n",
    "agents": "Oslo has 717,710 inhabitants.\n2 calls\n",
    "many_tasks": "9 characters\n10 characters\n11 characters\n12 characters\n13 characters\n14 characters\n",
    "replay": "It rains.\n",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_example_runs(name: str, tmp_path: Path) -> None:
    run = [sys.executable, "-W", "error", str(ROOT / "examples" / f"{name}.py")]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert EXPECTED[name] in done.stdout


BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["sessions", "limits", "testing"])
def test_code_of_a_page_prints_what_the_page_says(page: str, tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text())
    assert blocks
    for code, expected in blocks:
        run = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (0, expected), done.stderr
