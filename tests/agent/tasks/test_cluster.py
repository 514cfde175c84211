"""Batches on Ray, as far as a suite of seconds can go; tests/bench/cluster.py kills a machine of a real cluster."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from arriero import ScriptedModel
from arriero.agent.tasks import Task, TaskError
from arriero.agent.tasks.batch import Plan
from arriero.agent.tasks.cluster import run_on_ray
from arriero.agent.tasks.working import Workplace

TEXT = "name: t\nsteps:\n  - {id: a, prompt: p}\n"


def place() -> Workplace:
    return Workplace(ScriptedModel([]))


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TaskError, match=r"pip install 'arriero\[ray\]'"):
        asyncio.run(run_on_ray(Task.parse(TEXT), Plan(tmp_path / "rows.jsonl", tmp_path / "out"), place))


def test_without_a_cluster_it_says_how_to_start_one(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    task, rows = tmp_path / "t.yaml", tmp_path / "rows.jsonl"
    task.write_text(TEXT)
    rows.write_text("{}\n")
    command = ["batch", str(task), str(rows), "--out", str(tmp_path / "out"), "--engine", "ray"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-m", "arriero", *command],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment, "RAY_TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 2, done.stderr
    assert "there is no Ray cluster on this machine; start one with: ray start --head" in done.stderr


def test_functions_of_checks_go_with_the_task(tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text("def fine(result):\n    return True\n")
    file = tmp_path / "t.yaml"
    file.write_text("name: t\nsteps:\n  - {id: a, prompt: p, check: [{python: 'checks.py::fine'}]}\n")
    task = Task.load(file)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, source in task.functions().items():
        (elsewhere / name).write_bytes(source)
    (tmp_path / "checks.py").unlink()
    moved = task.moved(elsewhere)
    assert moved.digest == task.digest
    assert asyncio.run(moved.run(ScriptedModel(["x<|eot_id|>"]))).status == "ok"
