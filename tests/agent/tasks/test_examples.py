"""The task files under examples/tasks: every one is valid and does what it says, on doubles or the bundled model."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from arriero import ScriptedModel, Tool, tool
from arriero.agent.cli.app import cli
from arriero.agent.tasks import Task, TaskResult
from arriero.agent.tasks.published import published_text, schema_text

FOLDER = Path(__file__).parents[3] / "examples" / "tasks"
FILES = sorted(FOLDER.glob("*.yaml"))
END, MORE = "<|eot_id|>", "<|eom_id|>"


@tool(name="brave_search")
def search(query: str) -> str:
    """Search the web."""
    return json.dumps(
        {
            "query": query,
            "top_k": [{"title": "Paris", "url": "https://example.org", "content": "2.1 million"}],
        }
    )


@tool(name="wolfram_alpha")
def wolfram(query: str) -> str:
    """Compute."""
    return "8.047 km"


@tool(name="code_interpreter")
def python(code: str) -> str:
    """Run Python."""
    return "completed\n[stdout]0.0313[/stdout]"


TOOLS: dict[str, Tool] = {"search": search, "wolfram": wolfram, "python": python}
SEARCH = f'<|python_tag|>brave_search.call(query="x"){MORE}'
WOLFRAM = f'<|python_tag|>wolfram_alpha.call(query="x"){MORE}'
CODE = f"<|python_tag|>print(2100000 / 67e6){MORE}"

INVOICE = {"lines": [{"item": "rope", "amount": 12.5}, {"item": "hay", "amount": 7.5}], "total": 20}
DOUBLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "ticket": (
        {"text": "I was charged twice!"},
        [
            f"Billing, I think.{END}",
            f'{{"box": "billing", "urgency": 9}}{END}',
            f'{{"box": "billing", "urgency": 4}}{END}',
        ],
    ),
    "invoice": (
        {"document": "document.txt"},
        [f"{json.dumps({**INVOICE, 'total': 25})}{END}", f"{json.dumps(INVOICE)}{END}"],
    ),
    "summary": ({"document": "document.txt"}, [f"One. Two. Three.{END}", f"One. Two.{END}"]),
    "news": ({}, [SEARCH, f"Somebody did, says https://example.org{END}"]),
    "units": ({"amount": 5}, [WOLFRAM, f"5 miles are 8.047 km.{END}"]),
    "population": (
        {},
        [SEARCH, f'{{"population": 2100000, "source": "https://example.org"}}{END}', CODE, f"0.0313{END}"],
    ),
    "review": ({}, [f"Light scatters. Blue most. So it is.{END}", f"No, nothing.{END}"]),
    "capital": ({"country": "Peru", "expected": "Lima"}, [f"Lima{END}"]),
    "product": ({}, [CODE, f"It is 1,081.{END}"]),
    "chain": ({"start": 2}, [f"24{END}", f"168{END}"]),
    "refusal": ({}, [f"Hello!{END}"]),
}


def run(task: Task, inputs: dict[str, Any], model: ScriptedModel) -> TaskResult:
    return asyncio.run(task.run(model, inputs, tools=TOOLS))


def test_there_are_a_dozen() -> None:
    assert len(FILES) >= 12
    assert {path.stem for path in FILES} == {*DOUBLES, "plot"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_is_valid_for_us_and_for_editors(path: Path) -> None:
    import jsonschema
    import yaml

    task = Task.load(path)
    assert task.name == path.stem
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(published_text()))


@pytest.mark.parametrize("name", DOUBLES)
def test_every_file_does_what_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "document.txt").write_text("rope 12.50\nhay 7.50\ntotal 20.00\n")
    monkeypatch.chdir(tmp_path)
    inputs, answers = DOUBLES[name]
    model = ScriptedModel(answers)
    result = run(Task.load(FOLDER / f"{name}.yaml"), inputs, model)
    assert result.status == "ok", result.error
    model.assert_complete()


def test_the_bundled_model_runs_the_first_example() -> None:
    done = CliRunner().invoke(cli, ["run", str(FOLDER / "product.yaml"), "-i", "first=31", "-i", "second=12"])
    assert done.exit_code == 0, done.stderr
    assert "372" in done.stdout


def test_the_published_schema_is_that_of_the_classes() -> None:
    assert published_text() == schema_text(), "write it anew: arriero schema task > agent/tasks/task.v1.json"
