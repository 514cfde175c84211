"""Tasks on record: the same run without a model and without tools, and a plain word where it goes otherwise."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from arriero import Artifact, ScriptedModel, Tool, ToolFailed, ToolResult, ToolSpec
from arriero.agent.tasks import Task, TaskError, TaskResult
from arriero.agent.tasks.recording import Recording, Replay
from arriero.agent.tasks.working import Workplace
from arriero.tools import ToolContext

TEXT = """\
name: shop
tools: [look, buy]
approve: {buy: always}
steps:
  - {id: find, prompt: "Find a mule.", check: [{tool_called: look}, {judge: It is short.}]}
  - id: buy
    needs: [find]
    prompt: "Buy {{ steps.find.text }}"
    tools: [buy]
    retry: {attempts: 2}
    check: [{contains: done}]
"""
LOOK = '{"name": "look", "parameters": {"for": "mule"}}<|eom_id|>'
BUY = '{"name": "buy", "parameters": {}}<|eom_id|>'


class Look(Tool):
    spec = ToolSpec(name="look", description="Look.")

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult("Anita, ñ", (Artifact("a.png", "image/png", b"\x00\xff"),))


class Buy(Tool):
    spec = ToolSpec(name="buy", description="Buy.")

    def needs_approval(self, arguments: dict[str, Any]) -> bool:
        return True

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        raise ToolFailed("sold")


def run(task: Task, place: Workplace) -> TaskResult:
    return asyncio.run(task.run(place.model, tools=place.tools, judge=place.judge, guards="off"))


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, TaskResult]:
    model = ScriptedModel(
        [LOOK, "Anita<|eot_id|>", BUY, "No.<|eot_id|>", "All done.<|eot_id|>"], dialect="llama3.2"
    )
    judge = ScriptedModel(['{"reason": "yes", "fulfilled": true}<|eot_id|>'])
    recording = Recording(task="shop")
    place = recording.around(Workplace(model, {"look": Look(), "buy": Buy()}, "off", judge))
    result = run(Task.parse(TEXT), place)
    assert result.status == "ok", result.error
    path = tmp_path / "shop.json"
    recording.save(path)
    return path, result


def replayed(path: Path, text: str = TEXT) -> tuple[TaskResult, Replay]:
    again = Recording.load(path).replay()
    return run(Task.parse(text), Workplace(again.model, again.tools, "off", again.judge)), again


def essence(result: TaskResult) -> Any:
    kept = result.model_dump(exclude={"seconds": True, "usage": True})
    for step in kept["steps"]:
        step.pop("seconds")
        for attempt in step["attempts"]:
            for name in ("usage", "timeline"):
                attempt.pop(name)
            for call in attempt["calls"]:
                call.pop("seconds")
    return kept


def test_the_same_comes_of_it_without_model_and_tools(recorded: tuple[Path, TaskResult]) -> None:
    path, first = recorded
    again, replay = replayed(path)
    assert essence(again) == essence(first)
    assert replay.difference is None
    assert replay.model.dialect == "llama3.2"
    assert "Anita" in path.read_text()  # for people to read


def test_a_changed_check_is_tried_on_what_was_recorded(recorded: tuple[Path, TaskResult]) -> None:
    result, _ = replayed(recorded[0], TEXT.replace("contains: done", "contains: Done"))
    assert result.status == "failed"
    assert result.error == "buy: the answer does not contain Done"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("    retry: {attempts: 2}\n", ""),
            "1 messages of the model and 0 calls that were recorded did not come",
        ),
        (("approve: {buy: always}", "approve: {buy: never}"), "0 messages of the model and 1 calls"),
    ],
)
def test_what_goes_otherwise_is_told(
    recorded: tuple[Path, TaskResult], change: tuple[str, str], said: str
) -> None:
    _, replay = replayed(recorded[0], TEXT.replace(*change))
    assert said in str(replay.difference)


def test_another_call_than_recorded_is_told(recorded: tuple[Path, TaskResult]) -> None:
    path, _ = recorded
    path.write_text(path.read_text().replace('\\"mule\\"', '\\"horse\\"'))
    result, replay = replayed(path)
    assert replay.difference == "look({'for': 'horse'}) was called where look({'for': 'mule'}) was recorded"
    assert result.status != "ok"


def test_more_than_recorded_ends_the_run(recorded: tuple[Path, TaskResult]) -> None:
    path, _ = recorded
    values = json.loads(path.read_text())
    values["written"].pop()
    path.write_text(json.dumps(values))
    result, _ = replayed(path)
    assert "the recording has 4 messages of the model, and one more was asked" in str(result.error)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"task": 1}', '{"task": "t", "x": 1}', '{"task": "t", "v": 2}']
)
def test_files_that_are_no_recordings(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(TaskError, match="record it again"):
        Recording.load(path)
    with pytest.raises(TaskError, match="No such file"):
        Recording.load(tmp_path / "none")
    with pytest.raises(TaskError, match=r"r\.json"):
        Recording(task="t").save(path / "deeper")
