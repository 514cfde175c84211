"""The public names as a type checker sees them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_mypy_accepts_what_users_write_and_refuses_what_is_wrong() -> None:
    check = [sys.executable, "-m", "mypy", "--strict", str(ROOT / "tests" / "typing" / "api.py")]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert [line for line in done.stdout.splitlines() if line.startswith("tests/typing")] == [], done.stdout
