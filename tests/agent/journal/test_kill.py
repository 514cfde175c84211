"""A process that is killed at any moment, and what the next one makes of its journal."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from arriero.agent import Edited
from arriero.agent.events import ApprovalRequested, RunFinished
from arriero.agent.journal import Journal

from . import dying
from .dying import ONE, SCENARIOS, acting, agent_for, call, changed

Die = Callable[..., int]


@pytest.fixture(scope="module")
def die() -> Iterator[Die]:
    """Does an order in a child of its own; the number of the signal that ended it, 0 if none did."""
    program = subprocess.Popen(
        [sys.executable, dying.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdin
    assert program.stdout

    def order(**values: Any) -> int:
        assert program.stdin
        assert program.stdout
        program.stdin.write(json.dumps(values, default=str) + "\n")
        program.stdin.flush()
        code = int(program.stdout.readline())
        assert code >= 0, "the child failed"
        return code

    yield order
    program.communicate(timeout=60)


async def resumed(folder: Path, answers: list[str]) -> tuple[list[str], list[str], str]:
    """What a next process makes of it: the calls it asked about, what the model was told, why it ended."""
    asked: list[str] = []
    kept = Journal(folder / "journal.db").conversation("s")
    written = sum(message.role == "assistant" for message in kept.messages)
    agent = agent_for(answers[written:], folder / "journal.db", folder / "effects")
    decisions: dict[str, bool] = {}
    reason, going_on = "final", kept.unfinished
    while going_on:
        going_on = False
        async for event in agent.stream(decisions=decisions):
            if isinstance(event, ApprovalRequested):
                asked.append(f"{event.name} {event.arguments['what']}: {event.reason}")
                # The person looks at what happened outside, and finds that it did.
                decisions[event.call_id], going_on = False, True
            if isinstance(event, RunFinished):
                reason = f"{event.stop_reason} {event.error or ''}".strip()
    session = agent.session
    assert session is not None
    told = [message.content for message in session.open(agent).messages if message.role == "ipython"]
    await agent.aclose()
    return asked, told, reason


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_every_event_and_resumed(scenario: str, die: Die, tmp_path: Path) -> None:
    answers, wanted = SCENARIOS[scenario], Counter(_effects_of(SCENARIOS[scenario]))
    number, killed = 0, True
    while killed:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        killed = die(number=number, folder=folder, answers=answers) == signal.SIGKILL
        asked, told, reason = asyncio.run(resumed(folder, answers))
        done = Counter((folder / "effects").read_text().splitlines())
        where = f"{scenario}, killed at event {number}: {done}, asked {asked}, told {told}"
        assert reason == "final", (where, reason)
        for effect, times in wanted.items():
            if effect.startswith("pay"):
                # Never twice, and never lost without a word.
                assert done[effect] <= times, where
                assert done[effect] == times or any(a.startswith(effect) for a in asked), where
            else:
                assert done[effect] >= times, where
        assert len(asked) <= 1, where
    assert number > 8


def _effects_of(answers: list[str]) -> list[str]:
    return [
        f"{name} {what}"
        for answer in answers
        for name in ("pay", "look", "put")
        for what in "abc"
        if ONE % (name, what) in answer
    ]


@pytest.mark.parametrize(
    ("effect", "decision", "times", "told"),
    [
        ("once", None, 1, "the call needs the user's approval: the program ended while this call ran"),
        ("once", False, 1, "it is not known whether act took effect"),
        ("once", True, 2, "acted"),
        ("idempotent", None, 2, "acted"),
        ("read", None, 2, "acted"),
    ],
)
def test_killed_inside_a_call(
    effect: Any, decision: bool | None, times: int, told: str, die: Die, tmp_path: Path
) -> None:
    assert die(effect=effect, folder=tmp_path) == signal.SIGKILL
    assert Journal(tmp_path / "journal.db").session("s").interrupted
    decisions = {} if decision is None else {"call-1-1": decision}
    # Whoever approves everything has not said that this may happen twice.
    going_on = acting(effect, tmp_path, ["Done.<|eot_id|>"], dies=False, approve=lambda name, arguments: True)
    with going_on as second:
        result = second.run_sync(decisions=decisions)
        assert told in next(m.content for m in result.messages if m.role == "ipython")
    assert len((tmp_path / "effects").read_bytes()) == times
    assert result.stop_reason == ("approval" if (effect, decision) == ("once", None) else "final")


def test_a_new_question_after_a_kill_is_put_after_answers_to_all_calls(die: Die, tmp_path: Path) -> None:
    answers = [call(("pay", "a"), ("look", "b")), "Done.<|eot_id|>"]
    for number in (1, 6, 9):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert die(number=number, folder=folder, answers=answers) == signal.SIGKILL
        with agent_for(["I see.<|eot_id|>"], folder / "journal.db", folder / "effects") as agent:
            result = agent.run_sync("What happened?")
        told = [message.content for message in result.messages if message.role == "ipython"]
        assert result.output == "I see."
        assert len(told) in (0, 2)
        assert set(told) <= {
            "paid a",
            "saw b",
            "Error: the call was not run, because the run ended before it.",
        }
    assert len(told) == 2


@pytest.mark.parametrize("instructions", ["", "Other words."])
def test_a_call_in_flight_stays_unknown_until_somebody_decides(
    instructions: str, die: Die, tmp_path: Path
) -> None:
    """Each agent is a process of its own; one is killed while it goes on."""
    assert die(effect="once", folder=tmp_path) == signal.SIGKILL
    told = []
    for decisions in ({}, {}, {}, {"call-1-1": False}):
        going_on = acting("once", tmp_path, ["Done.<|eot_id|>"], dies=False)
        going_on.instructions = instructions or going_on.instructions
        with going_on as agent:
            result = agent.run_sync(decisions=decisions)
        told.append([message.content for message in result.messages if message.role == "ipython"])
        assert len((tmp_path / "effects").read_bytes()) == 1
        assert [message.role for message in result.messages][:3] == ["system", "user", "assistant"]
    assert result.output == "Done."
    assert [len(one) for one in told] == [1, 1, 1, 1]
    assert told[0] == told[1] == told[2]
    assert "it is not known whether act took effect" in told[3][0]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_killed_while_going_on(number: int, die: Die, tmp_path: Path) -> None:
    assert die(effect="once", folder=tmp_path) == signal.SIGKILL
    assert die(resume=number, folder=tmp_path) == signal.SIGKILL
    with acting("once", tmp_path, ["Done.<|eot_id|>"], dies=False) as agent:
        assert agent.run_sync().stop_reason == "approval"
    with acting("once", tmp_path, ["Done.<|eot_id|>"], dies=False) as agent:
        result = agent.run_sync(decisions={"call-1-1": True})
    assert result.output == "Done."
    assert [message.role for message in result.messages] == [
        "system",
        "user",
        "assistant",
        "ipython",
        "assistant",
    ]
    assert len((tmp_path / "effects").read_bytes()) == 2


@pytest.mark.parametrize(
    ("decision", "effects", "told"),
    [
        (None, "pay b\n", "the call needs the user's approval: the program ended while this call ran"),
        (False, "pay b\n", "it is not known whether pay took effect"),
        (True, "pay b\npay b\n", "paid b"),
        (Edited({"what": "c"}), "pay b\npay c\n", "paid c"),
    ],
)
def test_killed_inside_a_call_that_a_person_has_changed(
    decision: Any, effects: str, told: str, die: Die, tmp_path: Path
) -> None:
    """What was in flight is the call as it had become: that is what is asked about, and what runs again."""
    assert die(changed=True, folder=tmp_path) == signal.SIGKILL
    pending = Journal(tmp_path / "journal.db").conversation("s").pending
    assert pending is not None
    assert [(one.id, one.arguments) for one in pending.to_decide] == [("call-1-1", {"what": "b"})]
    assert pending.edited == ("call-1-1",)
    with changed(tmp_path, ["Done.<|eot_id|>"], dies=False, approve=lambda name, arguments: True) as agent:
        result = agent.run_sync(decisions={} if decision is None else {"call-1-1": decision})
    answer = next(message.content for message in result.messages if message.role == "ipython")
    now = "c" if isinstance(decision, Edited) else "b"
    assert answer.startswith(f'Note: the user changed the arguments of this call to pay(what="{now}").\n\n')
    assert told in answer
    assert (tmp_path / "effects").read_text() == effects
