"""Every way in which a guard can fail, at every place: nothing has passed, and the run says so."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from arriero.agent import Agent
from arriero.agent.backends import ScriptedModel
from arriero.agent.events import GuardrailChecked, RunFinished
from arriero.safety.base import ALLOW, PLACES, Place, ScreenInput, Verdict
from arriero.safety.policy import Policy, Rule
from arriero.tools import tool

from .loop import shown

TIMEOUT = 0.05


def raises(given: ScreenInput) -> Verdict:
    raise RuntimeError("no weights")


async def cancelled(given: ScreenInput) -> Verdict:
    raise asyncio.CancelledError


async def hangs(given: ScreenInput) -> Verdict:
    await asyncio.Event().wait()
    return ALLOW


def hangs_in_a_thread(given: ScreenInput) -> Verdict:
    time.sleep(0.5)
    return ALLOW


class Instant:
    """A screen that answers in place."""

    instant = True
    name = "guard"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def check(self, given: ScreenInput) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


FAULTS: dict[str, tuple[Any, str]] = {
    "missing": (None, "there is no such screen"),
    "raising": (raises, "failed: RuntimeError: no weights"),
    "raising at once": (Instant(RuntimeError("no weights")), "failed: RuntimeError: no weights"),
    "hanging": (hangs, "did not answer within"),
    "hanging in a thread": (hangs_in_a_thread, "did not answer within"),
    "babbling": (lambda given: "Sure! safe", "answered with str"),
    "babbling at once": (Instant("Sure! safe"), "answered with str"),
    "over-long": (lambda given: Verdict(reason="so " * 5000), "too long for a verdict"),
    "over-long at once": (Instant(Verdict(reason="so " * 5000)), "too long for a verdict"),
    "cancelled": (cancelled, "was cancelled"),
    "cancelled at once": (Instant(asyncio.CancelledError()), "was cancelled"),
}
CALLS = {
    "tool_call": '{"name": "act", "parameters": {"text": "go"}}<|eom_id|>',
    "tool_result": '{"name": "act", "parameters": {"text": "go"}}<|eom_id|>',
    "code": "<|python_tag|>act()<|eom_id|>",
}
REACHED: dict[Place, int] = {"input": 0, "tool_call": 1, "code": 1, "tool_result": 1, "output": 1}
"""How often the model has written when a run ends because of the guard at that place."""


def failing(fault: str, place: Place, **rule: Any) -> Policy:
    screen = FAULTS[fault][0]
    given = {"screens": {"guard": screen}} if screen else {}
    return Policy.model_validate({**given, place: {"guard": Rule(timeout=TIMEOUT, **rule)}})


def run(policy: Policy, place: Place) -> tuple[RunFinished, list[Any], ScriptedModel, list[str]]:
    acted: list[str] = []

    @tool
    def act(text: str) -> str:
        acted.append(text)
        return "a secret result"

    @tool(name="code_interpreter")
    def interpreter(code: str) -> str:
        acted.append(code)
        return "a secret result"

    call = CALLS.get(place)
    model = ScriptedModel([*([call] if call else []), "a secret answer<|eot_id|>"])
    tools = [interpreter] if place == "code" else [act]
    with Agent(model, tools=tools, guards=policy) as agent:
        events = list(agent.stream_sync("a secret question"))
    end = events[-1]
    assert isinstance(end, RunFinished)
    return end, events, model, acted


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_passes_a_guard_that_fails(fault: str, place: Place) -> None:
    end, events, model, acted = run(failing(fault, place), place)
    assert end.stop_reason == "blocked"
    assert "guard" in end.error
    assert FAULTS[fault][1] in end.error
    assert "secret" not in shown(events)
    assert model.used == REACHED[place]
    assert acted == (["go"] if place == "tool_result" else [])
    (check,) = [event for event in events if isinstance(event, GuardrailChecked)]
    assert (check.place, check.action, check.failed) == (place, "block", True)
    kept = [message.content for message in end.new_messages if place == "input" or message.role != "user"]
    assert not any("secret" in content for content in kept)


@pytest.mark.parametrize("place", PLACES)
def test_a_failure_passes_where_the_policy_says_so_in_so_many_words(place: Place) -> None:
    end, events, _, _ = run(failing("raising", place, on_failure="allow"), place)
    assert (end.stop_reason, end.output) == ("final", "a secret answer")
    assert all(event.failed for event in events if isinstance(event, GuardrailChecked))


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_is_cancelled_while_a_guard_thinks_has_let_nothing_pass(place: Place) -> None:
    async def leave() -> tuple[list[Any], ScriptedModel]:
        call = CALLS.get(place)
        model = ScriptedModel([*([call] if call else []), "a secret answer<|eot_id|>"])
        policy = Policy.model_validate({"screens": {"guard": hangs}, place: ["guard"]})
        agent = Agent(model, tools=[_acting(place)], guards=policy)
        task = asyncio.create_task(agent.run("a question"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return ACTED, model

    ACTED.clear()
    acted, model = asyncio.run(leave())
    assert model.used == REACHED[place]
    assert acted == (["acted"] if place == "tool_result" else [])


ACTED: list[str] = []


def _acting(place: Place) -> Callable[..., Any]:
    @tool(name="code_interpreter" if place == "code" else "act")
    def act(text: str = "", code: str = "") -> str:
        ACTED.append("acted")
        return "done"

    return act
