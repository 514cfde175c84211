"""Recorded trajectories through the loop: what arrives as recorded counts, what does not is named."""

import asyncio
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from arriero.agent.cli.app import cli
from arriero.agent.evaluation import Score, SuiteError
from arriero.agent.evaluation.trajectories import Trajectory, load, replay, suites

PUBLIC = Path(__file__).parents[4] / "shared" / "evals" / "data"
ROWS: dict[str, list[dict[str, Any]]] = {
    "tau_dev.jsonl": [
        {
            "id": "t1",
            "instruction": "Count the shirts.",
            "steps": [
                {"name": "list_all", "arguments": {}, "result": {"shirt": 'a "b"\n<|eot_id|>'}},
                {"name": "get", "arguments": {"id": "12", "n": 1}, "result": "Error: not found"},
                {"name": "get", "arguments": {"id": "12", "n": 1.5}, "result": ""},
            ],
        }
    ],
    "deep/workbench_dev.jsonl.gz": [
        {
            "id": "w1",
            "query": "Plot it.",
            "steps": [{"name": "analytics.plot", "arguments": {"on": True}, "result": "x"}],
        }
    ],
    "apibank_dev.jsonl": [
        {
            "id": "a1",
            "turns": [
                {"role": "User", "text": "Wake me."},
                {"role": "AI", "text": "When?"},
                {
                    "role": "API",
                    "api_name": "AddAlarm",
                    "param_dict": {"time": "7:00"},
                    "result": {"ok": "ñ"},
                },
            ],
        }
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, rows in ROWS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return tmp_path


async def scores(folder: Path, suite: str, dialect: str, change: Any = None) -> list[Score]:
    return [
        score
        async for score in replay(
            map(change or (lambda one: one), load(suites(folder)[suite], suite)), dialect=dialect
        )
    ]


@pytest.mark.parametrize("form", ["llama3.1", "llama3.2", "meta-messages-function-tag"])
def test_what_is_recorded_arrives(folder: Path, form: str) -> None:
    result = CliRunner().invoke(cli, ["eval", "trajectories", str(folder), "--replay", form, "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["results"][form] == {
        "tau": {"right": 1, "total": 1, "calls_right": 3, "calls": 3},
        "workbench": {"right": 1, "total": 1, "calls_right": 1, "calls": 1},
        "apibank": {"right": 1, "total": 1, "calls_right": 1, "calls": 1},
    }


def test_calls_that_arrive_otherwise_are_named(folder: Path) -> None:
    def with_whole_ids(one: Trajectory) -> Trajectory:
        kinds = {"type": "object", "properties": {"id": {"type": "integer"}}}
        return replace(one, tools=tuple(tool.model_copy(update={"parameters": kinds}) for tool in one.tools))

    (score,) = asyncio.run(scores(folder, "tau", "llama3.1", with_whole_ids))
    assert "call 2 is get({'id': 12, 'n': 1}) instead of" in score.problem


def test_a_table_for_people(folder: Path) -> None:
    result = CliRunner().invoke(cli, ["eval", "trajectories", str(folder), "--category", "tau"])
    assert "| tau | 1/1, calls 3/3 |" in result.stdout
    assert "checked by what was recorded" in result.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ('{"id": 1}\n', "tau_x.jsonl:1: the trajectory has another shape"),
        ("[]\n", "another shape"),
    ],
)
def test_files_of_another_shape_are_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "tau_x.jsonl").write_text(content)
    with pytest.raises(SuiteError, match=said):
        load(suites(tmp_path)["tau"], "tau")
    assert CliRunner().invoke(cli, ["eval", "trajectories", str(tmp_path)]).exit_code != 0
    empty = CliRunner().invoke(cli, ["eval", "trajectories", str(tmp_path / "none")])
    assert empty.exit_code == 2
    assert "holds no tau_" in empty.stderr


def test_public_trajectories() -> None:
    if not PUBLIC.exists():
        pytest.skip("the public trajectories are not beside the project's root")
    result = CliRunner().invoke(cli, ["eval", "trajectories", str(PUBLIC), "--limit", "5", "--json"])
    figures = json.loads(result.stdout)["results"]["llama3.1"]
    assert [(one["right"], one["total"]) for one in figures.values()] == [(5, 5)] * 3
