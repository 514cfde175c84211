"""Imports between the folders go one way: agent -> {tools, safety} -> prompts."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def test_arrows_point_one_way() -> None:
    done = subprocess.run([sys.executable, "-c", LINT], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout
