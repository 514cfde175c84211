"""Runs agents in forked children that are killed in the middle: ``python dying.py``, one JSON line for each.

A test's own process has threads, and a fork of it may wait for ever for a lock that one of them held. This one
has none, so that hundreds of children cost seconds. Each writes its effects to a file of its own, outside the
journal, with a write that the kernel has before the call goes on: that is what is counted.
"""

import asyncio
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from arriero.agent import Agent, Edited, Limits
from arriero.agent.backends import ScriptedModel
from arriero.agent.journal import Journal, Session
from arriero.tools import tool

PATIENCE = 60  # seconds for a child
ACTING = '{"name": "act", "parameters": {}}<|eom_id|>'
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


def acting(effect: Any, folder: Path, answers: list[str], *, dies: bool, approve: Any = None) -> Agent:
    """An agent with one tool, in which the process is killed if it is to die."""

    @tool(effect=effect)
    async def act() -> str:
        """Act."""
        with (folder / "effects").open("ab", buffering=0) as file:
            file.write(b"x")
        if dies:
            await asyncio.sleep(0.3)  # as a long call would; until then the call may not have begun
            os.kill(os.getpid(), signal.SIGKILL)
        return "acted"

    session = Session("s", journal=Journal(folder / "journal.db"))
    return Agent(ScriptedModel(answers), tools=[act], approve=approve, session=session)


def changed(folder: Path, answers: list[str], *, dies: bool, approve: Any = None) -> Agent:
    """An agent whose tool is called with what a person made of the call; the process may be killed in it."""

    @tool(effect="once", approval=True)
    async def pay(what: str) -> str:
        """Pay."""
        with (folder / "effects").open("ab", buffering=0) as file:
            file.write(f"pay {what}\n".encode())
        if dies:
            await asyncio.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        return f"paid {what}"

    session = Session("s", journal=Journal(folder / "journal.db"))
    return Agent(ScriptedModel(answers), tools=[pay], approve=approve, session=session)


async def _change(folder: Path) -> None:
    answers = [call(("pay", "a")), "no"]
    agent = changed(folder, answers, dies=True, approve=lambda name, arguments: Edited({"what": "b"}))
    async for _ in agent.stream("Go"):
        pass


async def _run(number: int, folder: Path, answers: list[str]) -> None:
    agent = agent_for(answers, folder / "journal.db", folder / "effects")
    seen = 0
    async for _ in agent.stream("Go"):
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)


async def _go_on(number: int, folder: Path) -> None:
    seen = 0
    async for _ in acting("once", folder, ["no"], dies=False).stream():
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)


async def _act(effect: str, folder: Path) -> None:
    async for _ in acting(effect, folder, [ACTING, "no"], dies=True).stream("Go"):
        pass


def _in_child(order: dict[str, Any]) -> int:
    """Do it in a child, which ends without clearing anything up; the number of the signal, else minus its code."""
    child = os.fork()
    if child == 0:
        code = 1
        signal.alarm(PATIENCE)
        try:
            folder = Path(order["folder"])
            if "changed" in order:
                asyncio.run(_change(folder))
            elif "effect" in order:
                asyncio.run(_act(order["effect"], folder))
            elif "resume" in order:
                asyncio.run(_go_on(order["resume"], folder))
            else:
                asyncio.run(_run(order["number"], folder, order["answers"]))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return -os.WEXITSTATUS(status) if os.WIFEXITED(status) else os.WTERMSIG(status)


if __name__ == "__main__":
    for line in sys.stdin:
        print(_in_child(json.loads(line)), flush=True)
