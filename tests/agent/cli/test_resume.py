"""``arriero sessions resume`` after a process was killed in the middle of a call."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arriero.agent.cli.app import cli

PATIENCE = 120  # seconds for a process to start
NOTE = """\
import os, time
with open({path!r}, "ab", buffering=0) as file:
    file.write(b"x")
time.sleep(600 if os.path.getsize({path!r}) == 1 else 0)
print("noted")"""
TOOL = ("--tool", "python", "--unsafe-no-sandbox")

Resume = Callable[..., Result]


@pytest.fixture
def resume(tmp_path: Path, script: Callable[..., str]) -> Resume:
    """A session whose process was killed while a call ran that had taken effect once; resumes it."""
    effects = tmp_path / "effects"
    model = script(f"<|python_tag|>{NOTE.format(path=str(effects))}<|eom_id|>")
    command = [
        sys.executable,
        "-m",
        "arriero",
        "ask",
        "Note it",
        "--session",
        "trip",
        "-q",
        "-m",
        model,
        *TOOL,
    ]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + PATIENCE
    while not effects.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    said = process.communicate()[0].decode()
    assert effects.exists(), said

    def again(*args: str, answer: str = "Fine.") -> Result:
        return CliRunner().invoke(cli, ["sessions", "resume", "trip", *args, "-m", script(answer), *TOOL])

    return again


def test_a_call_in_flight_is_decided_by_a_person(resume: Resume, tmp_path: Path) -> None:
    asked = resume()
    assert asked.exit_code == 5, asked.output
    assert "it may have taken effect" in asked.stderr
    assert "--again call-1-1 runs it, --skip call-1-1 does not" in asked.stderr
    assert (tmp_path / "effects").read_bytes() == b"x"
    shutil.copytree(tmp_path / "home", tmp_path / "copy")

    skipped = resume("--skip", "call-1-1")
    assert (skipped.exit_code, skipped.stdout) == (0, "Fine.\n"), skipped.stderr
    assert (tmp_path / "effects").read_bytes() == b"x"
    shown = CliRunner().invoke(cli, ["sessions", "show", "trip"]).stdout
    assert shown.count("Note it") == 1
    assert "it is not known whether code_interpreter took effect" in shown

    shutil.rmtree(tmp_path / "home")
    shutil.copytree(tmp_path / "copy", tmp_path / "home")
    repeated = resume("--again", "call-1-1")
    assert (repeated.exit_code, repeated.stdout) == (0, "Fine.\n"), repeated.stderr
    assert (tmp_path / "effects").read_bytes() == b"xx"

    shutil.rmtree(tmp_path / "home")
    shutil.copytree(tmp_path / "copy", tmp_path / "home")
    edited = resume("--edit", "call-1-1", '{"code": "print(6 * 7)"}')
    assert (edited.exit_code, edited.stdout) == (0, "Fine.\n"), edited.stderr
    assert (tmp_path / "effects").read_bytes() == b"xx"
    shown = CliRunner().invoke(cli, ["sessions", "show", "trip"]).stdout
    assert (
        'Note: the user changed the arguments of this call to code_interpreter(code="print(6 * 7)")' in shown
    )
    assert "[stdout]\n42\n" in shown


@pytest.mark.parametrize("arguments", ["{", "5"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    wrong = CliRunner().invoke(cli, ["sessions", "resume", "trip", "--edit", "call-1-1", arguments])
    assert wrong.exit_code == 2
    assert "Invalid value for --edit" in wrong.stderr


def test_a_question_instead_leaves_the_call_unknown(resume: Resume, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli, ["ask", "Never mind", "--session", "trip", "-q", "-m", "bundled", "--no-tools"]
    )
    assert result.exit_code in (0, 4), result.stderr
    assert (tmp_path / "effects").read_bytes() == b"x"


def test_a_decision_about_no_such_call_is_refused(resume: Resume) -> None:
    wrong = resume("--again", "call-9-9")
    assert wrong.exit_code == 2, wrong.output
    assert "call-1-1" in wrong.stderr
