"""Importing arriero, and asking the command for its help, loads nothing heavy."""

import json
import subprocess
import sys

import pytest

HEAVY = ("llama_cpp", "jupyter_client", "prompt_toolkit", "onnxruntime", "torch", "rich")

REPORT = "import json, sys; sys.stderr.write('loaded ' + json.dumps(sorted(sys.modules)))"


def loaded_after(code: str) -> set[str]:
    """Names of all modules in a fresh interpreter once ``code`` has run, whatever way it ended."""
    program = f"import atexit\natexit.register(lambda: exec({REPORT!r}))\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    _, marker, report = done.stderr.rpartition("loaded ")
    assert done.returncode == 0, done.stderr
    assert marker, done.stderr
    return set(json.loads(report))


def heavy(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} & set(HEAVY)


def test_the_check_sees_what_is_loaded() -> None:
    assert heavy(loaded_after("import rich")) == {"rich"}


def test_import_arriero() -> None:
    modules = loaded_after("import arriero")
    assert "arriero" in modules
    assert heavy(modules) == set()


def test_import_agent_from_arriero() -> None:
    assert heavy(loaded_after("from arriero import Agent")) == set()


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_command_options(option: str) -> None:
    run = "runpy.run_module('arriero', run_name='__main__')"
    code = f"import runpy, sys; sys.argv = ['arriero', {option!r}]; {run}"
    assert heavy(loaded_after(code)) == set()
