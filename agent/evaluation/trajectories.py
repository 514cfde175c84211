"""Recorded trajectories of tau-bench, WorkBench and API-Bank: what the suites' own environments answered to calls.

A trajectory is played through the loop: the calls are written in a dialect, a tool answers only the exact call
that was recorded next, and the prompt after it must hold the recorded answer as it is. Whatever renames, coerces,
reorders, drops, cuts, re-encodes or repeats anything loses the trajectory. No model is asked.
"""

import gzip
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from arriero.agent.agent import Agent
from arriero.agent.backends import FunctionModel
from arriero.agent.limits import Limits
from arriero.prompts import ToolCall, ToolSpec
from arriero.prompts.dialects import get_dialect
from arriero.tools import Tool, ToolContext, ToolResult

from .bfcl import SuiteError
from .tally import Score
from .writing import DONE, written

SUITES: Final = ("tau", "workbench", "apibank")
_KINDS: Final = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What a user wants, and the calls with the text that each was answered with."""

    id: str
    category: str
    user: str
    steps: tuple[tuple[ToolCall, str], ...]
    tools: tuple[ToolSpec, ...]


def suites(folder: Path) -> dict[str, list[Path]]:
    """The files ``tau_….jsonl``, ``workbench_…`` and ``apibank_…`` in the folder and below, gzipped or not."""
    found = {
        suite: sorted([*folder.rglob(f"{suite}_*.jsonl"), *folder.rglob(f"{suite}_*.jsonl.gz")])
        for suite in SUITES
    }
    return {suite: files for suite, files in found.items() if files}


def load(files: Iterable[Path], suite: str) -> list[Trajectory]:
    """The trajectories of a suite. The tools are inferred from all calls. Raises SuiteError."""
    found = []
    for path in files:
        for number, row in enumerate(_rows(path), 1):
            try:
                user, steps = _apibank(row) if suite == "apibank" else _plain(row)
                found.append((row["id"], user, steps))
            except (KeyError, TypeError, AttributeError) as error:
                raise SuiteError(f"{path}:{number}: the trajectory has another shape: {error!r}") from error
    tools = _tools([call for _, _, steps in found for call, _ in steps])
    return [Trajectory(name, suite, user, tuple(steps), tools) for name, user, steps in found]


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.strip()]
    except (OSError, EOFError, ValueError) as error:
        raise SuiteError(f"{path} cannot be read: {error}") from error


def _plain(row: Mapping[str, Any]) -> tuple[str, list[tuple[ToolCall, str]]]:
    steps = [
        (ToolCall(name=step["name"], arguments=step["arguments"]), _text(step["result"]))
        for step in row["steps"]
    ]
    return row.get("instruction") or row["query"], steps


def _apibank(row: Mapping[str, Any]) -> tuple[str, list[tuple[ToolCall, str]]]:
    turns = row["turns"]
    steps = [
        (
            ToolCall(name=turn["api_name"], arguments=turn["param_dict"]),
            json.dumps(turn["result"], ensure_ascii=False),
        )
        for turn in turns
        if turn["role"] == "API"
    ]
    return next((turn["text"] for turn in turns if turn["role"] == "User"), ""), steps


def _text(result: Any) -> str:
    return result if isinstance(result, str) else _json(result)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _tools(calls: Iterable[ToolCall]) -> tuple[ToolSpec, ...]:
    """Tools that take what was ever given; a parameter whose values differ in kind takes anything."""
    kinds: dict[str, dict[str, set[str | None]]] = {}
    for call in calls:
        parameters = kinds.setdefault(call.name, {})
        for name, value in call.arguments.items():
            parameters.setdefault(name, set()).add(_KINDS.get(type(value)))
    return tuple(
        ToolSpec(
            name=tool,
            description=tool,
            parameters={
                "type": "object",
                "properties": {name: _kind(found) for name, found in parameters.items()},
            },
        )
        for tool, parameters in kinds.items()
    )


def _kind(found: set[str | None]) -> dict[str, Any]:
    return {"type": next(iter(found))} if len(found) == 1 and None not in found else {}


@dataclass(slots=True)
class _Player:
    """Writes the next call, checks that the answer to the one before is in the prompt, and answers as recorded."""

    trajectory: Trajectory
    texts: list[str]
    calls: list[ToolCall] = field(default_factory=list)
    asked: int = 0
    seen: int = 0
    problem: str = ""

    def write(self, prompt: str) -> str:
        if self.asked:
            result = self.trajectory.steps[self.asked - 1][1]
            if result in prompt.rpartition("<|start_header_id|>ipython")[2]:
                self.seen += 1
            else:
                self.problem = self.problem or f"the answer to call {self.asked} did not reach the model"
        self.asked += 1
        return self.texts[self.asked - 1]

    def answer(self, call: ToolCall) -> str:
        self.calls.append(call)
        number = len(self.calls)
        steps = self.trajectory.steps
        wanted, result = steps[number - 1] if number <= len(steps) else (None, "")
        if wanted and call.name == wanted.name and _same(call.arguments, wanted.arguments):
            return result
        self.problem = self.problem or f"call {number} is {call.name}({call.arguments}) instead of {wanted}"
        return "Error: another call was recorded."


class _Recorded(Tool):
    effect = "read"

    def __init__(self, spec: ToolSpec, player: _Player) -> None:
        self.spec = spec
        self._player = player

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult(self._player.answer(ToolCall(name=self.name, arguments=arguments)))


async def replay(trajectories: Iterable[Trajectory], *, dialect: str) -> AsyncIterator[Score]:
    """Play trajectories through renderer, parser, coercion and loop."""
    form = get_dialect(dialect)
    for trajectory in trajectories:
        calls = [call for call, _ in trajectory.steps]
        player = _Player(trajectory, [*written(form, trajectory.tools, calls, together=False), DONE])
        agent = Agent(
            FunctionModel(player.write, dialect=dialect, context_length=10**8),
            tools=[_Recorded(spec, player) for spec in trajectory.tools],
            limits=Limits(max_steps=None, max_repeats=1000, max_output_chars=10**9),
            guards=None,
        )
        result = await agent.run(trajectory.user)
        short = len(player.calls) != len(calls) and f"{len(player.calls)} calls of {len(calls)} were read"
        problem = player.problem or str(result.error or "") or short or ""
        yield Score(trajectory, tuple(player.calls), problem, player.seen, len(calls))


def _same(one: Any, other: Any) -> bool:
    """Equal with the types: True is not 1, and 1.0 is not 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
