"""A process that is killed at any moment, and what the next one makes of its journal.

Children are forked, so that hundreds of them cost seconds. Each writes its effects to a file of its own, outside the
journal, with a write that the kernel has before the call goes on: that is what is counted.
"""

import asyncio
import os
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arriero.agent import Agent, Limits
from arriero.agent.backends import ScriptedModel
from arriero.agent.events import ApprovalRequested, RunFinished
from arriero.agent.journal import Journal, Session
from arriero.tools import tool

ONE = '{"name": "%s", "parameters": {"what": "%s"}}'


def call(*calls: tuple[str, str]) -> str:
    return "; ".join(ONE % one for one in calls) + "<|eom_id|>"


# A message with a call that cannot be run stands, and the model is told: its other calls are run.
LIMITS = Limits(max_retries=0)

SCENARIOS: dict[str, list[str]] = {
    "one call": [call(("pay", "a")), "Done.<|eot_id|>"],
    "three steps": [call(("pay", "a")), call(("look", "b")), call(("pay", "c")), "Done.<|eot_id|>"],
    "three calls at once": [call(("pay", "a"), ("look", "b"), ("pay", "c")), "Done.<|eot_id|>"],
    "a fault and a set": [
        call(("pay", "a"), ("nope", "x")),
        call(("put", "b"), ("pay", "a")),
        "Done.<|eot_id|>",
    ],
}


def agent_for(answers: list[str], journal: Path, effects: Path) -> Agent:
    def note(what: str) -> None:
        with effects.open("ab", buffering=0) as file:
            file.write(f"{what}\n".encode())

    @tool(effect="once")
    async def pay(what: str) -> str:
        """Pay."""
        note(f"pay {what}")
        return f"paid {what}"

    @tool(effect="read")
    async def look(what: str) -> str:
        """Look."""
        note(f"look {what}")
        return f"saw {what}"

    @tool(effect="idempotent")
    async def put(what: str) -> str:
        """Put."""
        note(f"put {what}")
        return f"put {what}"

    session = Session("s", journal=Journal(journal))
    return Agent(
        ScriptedModel(answers, chunk=1000),
        tools=[pay, look, put],
        session=session,
        guards=None,
        limits=LIMITS,
    )


def in_child(work: Callable[[], None]) -> int:
    """Do it in a forked child, which ends without clearing anything up; the number of the signal, else 0."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the child failed"
        return 0
    return os.WTERMSIG(status)


def killed_at(number: int, folder: Path, answers: list[str]) -> bool:
    """Run in a child that kills itself at the event of that number; False if the run has fewer."""

    def work() -> None:
        async def run() -> None:
            agent = agent_for(answers, folder / "journal.db", folder / "effects")
            seen = 0
            async for _ in agent.stream("Go"):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(run())

    return in_child(work) == signal.SIGKILL


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
def test_killed_at_every_event_and_resumed(scenario: str, tmp_path: Path) -> None:
    answers, wanted = SCENARIOS[scenario], Counter(_effects_of(SCENARIOS[scenario]))
    number, killed = 0, True
    while killed:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        killed = killed_at(number, folder, answers)
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
    effect: Any, decision: bool | None, times: int, told: str, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"

    def agent(answers: list[str], *, dies: bool, approve: Any = None) -> Agent:
        @tool(effect=effect)
        async def act() -> str:
            """Act."""
            with effects.open("ab", buffering=0) as file:
                file.write(b"x")
            if dies:
                await asyncio.sleep(0.3)  # as a long call would; until then the call may not have begun
                os.kill(os.getpid(), signal.SIGKILL)
            return "acted"

        return Agent(
            ScriptedModel(answers),
            tools=[act],
            approve=approve,
            session=Session("s", journal=Journal(tmp_path / "journal.db")),
        )

    acting = '{"name": "act", "parameters": {}}<|eom_id|>'

    async def first() -> None:
        [_ async for _ in agent([acting, "no"], dies=True).stream("Go")]

    assert in_child(lambda: asyncio.run(first())) == signal.SIGKILL
    assert Journal(tmp_path / "journal.db").session("s").interrupted
    decisions = {} if decision is None else {"call-1-1": decision}
    # Whoever approves everything has not said that this may happen twice.
    with agent(["Done.<|eot_id|>"], dies=False, approve=lambda name, arguments: True) as second:
        result = second.run_sync(decisions=decisions)
        assert told in next(m.content for m in result.messages if m.role == "ipython")
    assert len(effects.read_bytes()) == times
    assert result.stop_reason == ("approval" if (effect, decision) == ("once", None) else "final")


def test_a_new_question_after_a_kill_is_put_after_answers_to_all_calls(tmp_path: Path) -> None:
    answers = [call(("pay", "a"), ("look", "b")), "Done.<|eot_id|>"]
    for number in (1, 6, 9):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert killed_at(number, folder, answers)
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
