"""The public names as type checkers see them: a program that embeds arriero, read by mypy and by pyright."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TYPING = ROOT / "tests" / "typing"
# pyright fetches what it lacks (node); tests do not wait for that, nor depend on it.
OFFLINE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")


def check(*command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    environment = os.environ | OFFLINE | {"npm_config_offline": "true", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_mypy_accepts_what_users_write_and_refuses_what_is_wrong() -> None:
    done = check("mypy", "--strict", str(TYPING / "app.py"))
    assert [line for line in done.stdout.splitlines() if line.startswith("tests/typing")] == [], done.stdout


def test_pyright_finds_the_same_types() -> None:
    pytest.importorskip("pyright", reason="pyright is not installed; it is in the group dev")
    if check("pyright", "--version", timeout=60).returncode:
        pytest.skip("pyright needs node, which is neither here nor to be had offline")
    done = check("pyright", "--pythonpath", sys.executable, "--project", str(TYPING / "pyrightconfig.json"))
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("0 errors, 0 warnings")
