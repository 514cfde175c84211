"""``arriero run``, ``batch``, ``validate`` and ``schema`` as people and programs call them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arriero.agent.cli.app import cli

TASK = """\
name: t
inputs: {n: {type: int, default: 1}}
defaults: {model: MODEL}
steps:
  - {id: a, prompt: 'n={{ inputs.n }}', check: [{contains: good}]}
"""


@pytest.fixture
def task(tmp_path: Path, script: Callable[..., str]) -> Callable[..., str]:
    """A task file whose model gives the answers."""

    def write(*answers: str) -> str:
        path = tmp_path / "task.yaml"
        path.write_text(TASK.replace("MODEL", script(*answers)))
        return str(path)

    return write


def arriero(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def test_run_prints_the_output_and_nothing_else(task: Callable[..., str]) -> None:
    done = arriero("run", task("all good"), "-i", "n=3")
    assert (done.exit_code, done.stdout) == (0, "all good\n")
    assert "a: ok" in done.stderr


def test_the_models_of_caller_and_task(task: Callable[..., str], tmp_path: Path) -> None:
    path = task("from the task: good")
    other = tmp_path / "other.txt"
    other.write_text("from the caller: good")
    assert "caller" in arriero("run", path, "-m", f"script:{other}").stdout
    assert "task" in arriero("run", path).stdout


def test_a_check_that_fails_is_exit_code_3(task: Callable[..., str]) -> None:
    done = arriero("run", task("bad"))
    assert done.exit_code == 3
    assert done.stdout == ""
    assert "contains: good: the answer does not contain good" in done.stderr


def test_dry_run_asks_no_model(task: Callable[..., str]) -> None:
    done = arriero("run", task(), "--dry-run", "-i", "n=7")
    assert (done.exit_code, done.stdout) == (0, "--- a\nn=7\n")


def test_json_ends_with_the_result(task: Callable[..., str]) -> None:
    lines = [json.loads(line) for line in arriero("run", task("good"), "--json").stdout.splitlines()]
    assert lines[0]["type"] == "task_step_began"
    assert lines[-1]["type"] == "task_ended"
    assert lines[-1]["result"]["status"] == "ok"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("-i", "n"), 2, "not of the form NAME=VALUE"),
        (("-i", "n=x"), 2, "'n' must be a whole number"),
        (("-i", "m=1"), 2, "there is no input 'm'"),
        (("-m", "nowhere.gguf"), 6, "there is no model file"),
    ],
)
def test_what_cannot_be_run(task: Callable[..., str], args: tuple[str, ...], code: int, said: str) -> None:
    done = arriero("run", task("good"), *args)
    assert done.exit_code == code
    assert said in done.stderr


def test_validate_names_file_and_line(task: Callable[..., str], tmp_path: Path) -> None:
    good, bad = task("good"), tmp_path / "bad.yaml"
    bad.write_text("name: t\nsteps:\n  - id: a\n    promt: x\n")
    assert arriero("validate", good).stdout == f"{good}: t, 1 step\n"
    done = arriero("validate", good, str(bad))
    assert done.exit_code == 2
    assert f"{bad}:4: steps[0].promt: 'promt' is not known here; did you mean 'prompt'?" in done.stderr
    assert arriero("run", str(bad)).exit_code == 2
    assert arriero("validate", str(tmp_path / "none.yaml")).exit_code == 2


def test_batch_resumes_and_its_exit_code_is_that_of_the_worst(
    task: Callable[..., str], tmp_path: Path
) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "out"
    rows.write_text("n\n1\n2\n3\n")
    path = task("good", "good")
    first = arriero("batch", path, str(rows), "--out", str(out))
    assert first.exit_code == 1
    assert "3 rows: 1 error, 2 ok" in first.stdout
    assert "3/3 rows, 1 not ok" in first.stderr
    refused = arriero("batch", path, str(rows), "--out", str(out))
    assert (refused.exit_code, "--resume goes on" in refused.stderr) == (2, True)
    again = arriero("batch", path, str(rows), "--out", str(out), "--resume", "--retry-errors", "-q")
    assert again.exit_code == 0, again.output
    assert "3 rows: 3 ok" in again.stdout
    assert {one.name for one in out.iterdir()} >= {
        "manifest.json",
        "results.jsonl",
        "report.html",
        "junit.xml",
    }


@pytest.mark.parametrize(("options", "code"), [(["-i", "m=1"], 2), (["-m", "/nowhere.gguf"], 6)])
def test_json_has_an_ending_even_where_nothing_could_begin(
    options: list[str], code: int, task: Callable[..., str]
) -> None:
    done = arriero("run", task("good"), *options, "--json")
    (line,) = done.stdout.splitlines()
    assert done.exit_code == code
    assert (json.loads(line)["v"], json.loads(line)["type"]) == (1, "task_ended")
    assert json.loads(line)["result"]["error"] in done.stderr


def test_schema_is_json() -> None:
    assert json.loads(arriero("schema", "task").stdout)["title"] == "arriero task, version 1"


def test_a_run_on_record_needs_no_model(task: Callable[..., str], tmp_path: Path) -> None:
    path, tape = task("all good"), str(tmp_path / "tape.json")
    assert arriero("run", path, "--record", tape).exit_code == 0
    Path(path).write_text(Path(path).read_text().replace("script:", "script:/nowhere"))
    again = arriero("run", path, "--replay", tape)
    assert (again.exit_code, again.stdout) == (0, "all good\n")
    Path(path).write_text(TASK.replace("contains: good", "contains: better"))
    assert arriero("run", path, "--replay", tape).exit_code == 3
    Path(path).write_text(TASK.replace("steps:", "steps:\n  - {id: z, prompt: before}"))
    other = arriero("run", path, "--replay", tape)
    assert other.exit_code == 1
    assert "one more was asked" in other.stderr
    assert arriero("run", path, "--replay", tape, "--record", tape).exit_code == 2
    assert "No such file" in arriero("run", path, "--replay", f"{tape}x").stderr


def test_a_judge_is_named_by_the_caller_or_the_task(task: Callable[..., str], tmp_path: Path) -> None:
    path = task("all good")
    Path(path).write_text(Path(path).read_text().replace("{contains: good}", "{judge: It is good.}"))
    refused = arriero("run", path)
    assert refused.exit_code == 2
    assert "--judge MODEL" in refused.stderr
    judge = tmp_path / "judge.txt"
    judge.write_text('{"reason": "It is not.", "fulfilled": false}')
    judged = arriero("run", path, "--judge", f"script:{judge}")
    assert judged.exit_code == 3
    assert "the judge says no: It is not." in judged.stderr
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"n": 1}\n')
    batch = arriero("batch", path, str(rows), "--out", str(tmp_path / "out"), "--judge", f"script:{judge}")
    assert batch.exit_code == 3
