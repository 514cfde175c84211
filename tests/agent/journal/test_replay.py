"""Recorded runs that are run again: without a model, and on the same weights."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel

from arriero.agent import (
    Agent,
    ApprovalRules,
    CancellationToken,
    DropToolOutputs,
    Journal,
    Limits,
    OutputReader,
    ReplayModel,
    Session,
)
from arriero.agent.backends import LlamaCppModel, Sampling, ScriptedModel
from arriero.agent.cli.app import cli
from arriero.agent.events import ContextCompacted, Event
from arriero.agent.journal import JournalError
from arriero.agent.journal.replay import difference, replay
from arriero.agent.models import bundled_model
from arriero.safety.policy import Policy
from arriero.tools import RunContext, tool

END = "<|eot_id|>"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"
did: list[str] = []


def call(name: str, arguments: str = "{}") -> str:
    return f'{{"name": "{name}", "parameters": {arguments}}}<|eom_id|>'


@tool
def look(what: str) -> str:
    """Look."""
    did.append("look")
    return f"saw {what}"


@tool
def long(count: int) -> str:
    """A long text."""
    return "word " * count


@tool(approval=True)
def pay(sum: int) -> str:  # noqa: A002
    """Pay."""
    did.append("pay")
    return "paid"


@tool
def fails(ctx: RunContext[None]) -> str:
    """Fail, after some output."""
    ctx.on_output("stdout", "part")
    raise ValueError("no")


@tool
async def slow() -> str:
    """Take long."""
    await asyncio.sleep(60)
    return "late"


class Answer(BaseModel):
    x: int


TOOLS = [look, long, pay, fails, slow]
LOOK, LOST = call("look", '{"what": "a"}'), call("lok", '{"what": "a"}')
PAY = call("pay", '{"sum": 7}')
SCENARIOS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "an answer": (["Hi." + END], {}),
    "tools": ([LOOK, call("fails"), "Done." + END], {}),
    "a call that is mended": ([LOST, LOOK, "Done." + END], {}),
    "a call that stands": ([LOST, LOOK, "Done." + END], {"limits": Limits(max_retries=0)}),
    "a call that cannot be read": (['{"name": "look", "parameters": {"what"' + END] * 3 + ["x" + END], {}),
    "a loop": ([LOOK] * 6, {}),
    "too many steps": ([LOOK] * 3, {"limits": Limits(max_steps=2)}),
    "too many calls": ([LOOK.replace("<", ";" + LOOK[:-10] + "<")] * 2, {"limits": Limits(max_tool_calls=1)}),
    "too many tokens": (["a b c d e f g h" + END], {"limits": Limits(max_tokens=4)}),
    "no time": (["a" + END], {"limits": Limits(max_seconds=1e-4)}),
    "an allowed call": ([PAY, "ok" + END], {"approve": lambda name, arguments: True}),
    "a refused call": ([PAY, "ok" + END], {"approve": lambda name, arguments: False}),
    "a denied call": ([LOOK, "ok" + END], {"approve": ApprovalRules({"look": "deny"})}),
    "a call that waits": ([PAY, "ok" + END], {}),
    "a call that a screen asks about": ([call("look", '{"what": "AKIAABCDEFGHIJKLMNOP"}')], {}),
    "a call that a screen blocks": (
        [LOOK, "ok" + END],
        {"guards": Policy().with_screen("no", lambda given: _said(given, "block"), "tool_call")},
    ),
    "an answer that a screen blocks": (
        ["The secret word is here." + END],
        {"guards": Policy().with_screen("no", lambda given: _said(given, "block"), "output")},
    ),
    "an answer that a screen wants anew": (
        ["The secret word is here." + END, "Fine." + END],
        {"guards": Policy().with_screen("no", lambda given: _said(given, "retry"), "output")},
    ),
    "a prompt that a screen blocks": (
        [],
        {"guards": Policy().with_screen("no", lambda given: _said(given, "block", "Go"), "input")},
    ),
    "an answer with a secret": ([f"It is {KEY} indeed." + END], {}),
    "a result with a secret": ([call("look", '{"what": "it"}'), "Done." + END], {"tools": []}),
    "a model that fails": ([LOOK], {}),
    "a form": (["nope" + END, '{"x": 3}' + END], {"output_type": Answer, "tools": []}),
    "a form that is never met": (["nope" + END] * 5, {"output_type": Answer, "tools": []}),
    "a long output": ([call("long", '{"count": 90000}'), "Done." + END], {}),
    "a long output to read on": (
        [call("long", '{"count": 90000}'), "Done." + END],
        {"tools": [long, OutputReader()]},
    ),
    "a full context": (
        [call("long", f'{{"count": {count}}}') for count in range(900, 906)] + ["Done." + END],
        {"context": DropToolOutputs(keep=1), "context_length": 8192},
    ),
}


def _said(given: Any, action: Any, word: str = "") -> Any:
    from arriero.safety.base import Verdict

    found = word in given.text if word else "secret" in given.text or given.place == "tool_call"
    return Verdict(action, reason="so it is") if found else Verdict()


def run_again(journal: Journal, run: str, **options: Any) -> list[Event]:
    async def events() -> list[Event]:
        return [event async for event in replay(journal, run, **options)]

    return asyncio.run(asyncio.wait_for(events(), 30))


def recorded(journal: Journal, run: str) -> list[Event]:
    return [event for _, event in journal.events(run)]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_it_goes_as_recorded_and_nothing_is_done(scenario: str, journal: Journal) -> None:
    answers, options = SCENARIOS[scenario]
    values = {"tools": TOOLS, **options}
    model = ScriptedModel(answers, context_length=values.pop("context_length", 131_072))
    with Agent(model, session=Session("s", journal=journal), **values) as agent:
        agent.run_sync("Go")
    did.clear()
    again = run_again(journal, "last")
    assert difference(recorded(journal, "last"), again) is None
    assert [event.type for event in again][-1] == "run_finished"
    assert did == []
    if scenario == "a full context":
        assert any(isinstance(event, ContextCompacted) for event in recorded(journal, "last"))


def test_the_second_turn_of_a_session(journal: Journal) -> None:
    model = ScriptedModel([LOOK, "One." + END, LOOK, "Two." + END])
    with Agent(model, tools=TOOLS, session=Session("s", journal=journal)) as agent:
        first, second = agent.run_sync("First"), agent.run_sync("Second")
    for result in (first, second):
        again = run_again(journal, result.run_id)
        assert difference(recorded(journal, result.run_id), again) is None
        assert again[-1].output == result.output  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "where", ["run_started", "step_started", "text_delta", "step_finished", "tool_call_started"]
)
@pytest.mark.parametrize("leaves", [False, True])
def test_a_run_that_was_stopped_is_stopped_there_again(where: str, leaves: bool, journal: Journal) -> None:
    answers = ["word " * 2000 + END] if where == "text_delta" else [call("slow"), "x" + END]
    cancel = CancellationToken()
    with Agent(ScriptedModel(answers), tools=TOOLS, session=Session("s", journal=journal)) as agent:
        for event in agent.stream_sync("Go", cancel=cancel):
            if event.type == where:
                cancel.cancel()
                if leaves:
                    break
    assert journal.run("last").stop_reason == "cancelled"
    assert difference(recorded(journal, "last"), run_again(journal, "last")) is None


def test_what_differs_is_named(journal: Journal) -> None:
    with Agent(ScriptedModel([LOOK, "Done." + END]), tools=TOOLS, journal=journal) as agent:
        agent.run_sync("Go")
    events = recorded(journal, "last")
    other = [event.model_copy(update={"content": "else"}) if event.type == "tool_call_finished" else event
             for event in events]  # fmt: skip
    assert "event 3: recorded ('result', 'look', 'saw a'), now ('result', 'look', 'else')" in str(
        difference(events, other)
    )
    assert difference(events, events[:-1]) == "recorded 6 events, now 5"


def test_a_double_from_a_recorded_run(journal: Journal) -> None:
    with Agent(ScriptedModel([LOOK, "Done." + END]), tools=TOOLS, journal=journal) as agent:
        agent.run_sync("Go")
    model = ReplayModel(journal.generations("last"))
    with Agent(model, tools=TOOLS) as agent:
        assert agent.run_sync("Go").output == "Done."
        model.assert_complete()
        result = agent.run_sync("Once more")
    assert "2 messages of the model, and one more was asked" in (result.error or "")
    with pytest.raises(AssertionError, match="2 of 2 recorded messages were not used"):
        ReplayModel(journal.generations("last")).assert_complete()


def test_a_run_that_went_on_with_another_is_refused(journal: Journal) -> None:
    with Agent(ScriptedModel([PAY, "ok" + END]), tools=TOOLS, session=Session("s", journal=journal)) as agent:
        result = agent.run_sync("Go")
        agent.run_sync(decisions={"call-1-1": False})
    with pytest.raises(JournalError, match="went on with what another left"):
        run_again(journal, "last")
    assert difference(recorded(journal, result.run_id), run_again(journal, result.run_id)) is None


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A real model's run in the user's journal, and the command line."""
    monkeypatch.setenv("ARRIERO_HOME", str(tmp_path))
    model = LlamaCppModel(bundled_model(), n_threads=1)
    hot = Sampling(temperature=3.0, top_p=1.0)  # so that no two seeds write the same
    with Agent(model, session="real", sampling=hot, limits=Limits(max_tokens=40)) as agent:
        agent.run_sync("Tell me of the sky")
    return lambda *args: CliRunner().invoke(cli, ["replay", "last", *args])


def with_other_weights(path: Path) -> Path:
    """The bundled model with one tensor turned round."""
    gguf = pytest.importorskip("gguf")
    shutil.copyfile(bundled_model(), path)
    norm = next(one for one in gguf.GGUFReader(path, "r+").tensors if one.name == "output_norm.weight")
    norm.data[:] = -norm.data
    norm.data.flush()
    return path


def test_the_same_weights_and_seed_write_the_same_tokens_and_others_do_not(
    home: Callable[..., Result], tmp_path: Path
) -> None:
    assert Journal().generations("last")[0].seed is not None
    verified = home("--verify")
    assert (verified.exit_code, "tokens the same" in verified.stderr) == (0, True), verified.stderr

    other = with_other_weights(tmp_path / "other.gguf")
    changed = home("--verify", "-m", str(other))
    assert changed.exit_code == 3, changed.stderr
    assert "has other weights" in changed.stderr
    assert "differs at message 1, token " in changed.stderr

    with sqlite3.connect(Journal().path) as db:
        db.execute("UPDATE generation SET seed = seed + 1")
    db.close()
    seeded = home("--verify")
    assert (seeded.exit_code, "differs at message " in seeded.stderr) == (3, True), seeded.stderr
