"""Another interpreter than arriero's own: found, refused with what to do, and really run."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kernel import Kernel, needs

from arriero.tools.python import Sandbox, SandboxUnavailable
from arriero.tools.python.interpreter import OWN, find

Program = Callable[[str], Path]
ANSWER = {"executable": "/opt/python", "version": [3, 12], "prefixes": ["/opt"], "kernel": True}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    def write(line: str) -> Path:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return path

    return write


def test_unless_named_it_is_the_own_one() -> None:
    assert find(None) is OWN


@pytest.mark.parametrize("named", [sys.executable, sys.prefix])
def test_file_or_environment(named: str) -> None:
    assert find(named) == OWN


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("exit 1", "does not run as a Python"),
        ("echo hello", "does not run as a Python"),
        ("echo 7", "does not answer as a Python"),
        (f"echo '{json.dumps({**ANSWER, 'version': [3, 8]})}'", "is Python 3.8; the sandbox needs 3.11"),
        (f"echo '{json.dumps({**ANSWER, 'kernel': False})}'", "/opt/python -m pip install ipykernel"),
        (f"echo '{json.dumps({**ANSWER, 'prefixes': ['/home']})}'", "use a virtual environment"),
    ],
)
def test_what_cannot_be_used_is_refused(program: Program, line: str, message: str) -> None:
    with pytest.raises(SandboxUnavailable, match=message):
        find(program(line)).roots()
    assert message in Sandbox.probe(python=program(line)).line


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="is no program"):
        find(tmp_path)


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_code_runs_where_a_launcher_leads(level: str, program: Program) -> None:
    needs(level)
    kernel = Kernel(level, spare=False, python=program(f'exec "{sys.executable}" "$@"'))
    try:
        assert kernel.run("import sys; print(sys.executable)").stdout == sys.executable
    finally:
        kernel.close()
