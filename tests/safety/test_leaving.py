"""Runs that end early, by a cancel or because nobody listens any more: what was not let pass stays nowhere."""

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest

from arriero.agent import Agent, CancellationToken
from arriero.agent.backends import ScriptedModel
from arriero.agent.events import Event, GuardrailChecked, StepFinished, TextDelta
from arriero.safety.base import ALLOW, ScreenInput, Verdict
from arriero.safety.policy import REFUSED, Policy

from .loop import flagging, policy


def left_at(kind: type[Event], guards: Policy, text: str) -> list[str]:
    """What a conversation holds when whoever listens to a run in it leaves at an event."""

    async def leave() -> list[str]:
        agent = Agent(ScriptedModel([text]), guards=guards)
        conversation = agent.conversation()
        async with aclosing(agent.stream("hello", conversation=conversation)) as events:
            async for event in events:
                if isinstance(event, kind):
                    break
        return [message.content for message in conversation.messages]

    return asyncio.run(leave())


@pytest.mark.parametrize(
    ("prompt", "reason", "kept"), [("tea", "final", ["tea", "Fine."]), (None, "blocked", [])]
)
def test_input_that_no_screen_has_let_pass_before_a_cancel_is_in_no_conversation(
    prompt: str | None, reason: str, kept: list[str]
) -> None:
    cancel = CancellationToken()

    async def guard(given: ScreenInput) -> Verdict:
        if cancel.reason is None:
            cancel.cancel()
            await asyncio.Event().wait()
        return Verdict("block") if "bomb" in given.text else ALLOW

    model = ScriptedModel(["Fine.<|eot_id|>"])
    with Agent(model, guards=policy(guard, "input")) as agent:
        conversation = agent.conversation()
        stopped = agent.run_sync("a bomb", conversation=conversation, cancel=cancel)
        assert (stopped.stop_reason, conversation.messages) == ("cancelled", [])
        assert conversation.unfinished
        # A run that goes on with it has it screened first.
        assert agent.run_sync(prompt, conversation=conversation).stop_reason == reason
    assert [message.content for message in conversation.messages if message.role != "system"] == kept
    assert not any("bomb" in asked for asked in model.prompts)


def test_whoever_leaves_at_the_verdict_leaves_no_blocked_input_behind() -> None:
    assert left_at(GuardrailChecked, policy(flagging("hello"), "input"), "Fine.<|eot_id|>") == []


@pytest.mark.parametrize("kind", [GuardrailChecked, StepFinished, TextDelta])
def test_whoever_leaves_at_the_end_leaves_no_blocked_answer_behind(kind: type[Event]) -> None:
    kept = left_at(kind, policy(flagging("FORBIDDEN"), "output"), "FORBIDDEN<|eot_id|>")
    assert kept[-1] == REFUSED


@pytest.mark.parametrize("kind", [GuardrailChecked, StepFinished])
def test_whoever_leaves_before_it_is_written_anew_leaves_nothing_behind(kind: type[Event]) -> None:
    kept = left_at(kind, policy(flagging("FORBIDDEN", "retry"), "output"), "FORBIDDEN<|eot_id|>")
    assert kept[-1] == ""


def test_an_answer_that_is_cancelled_while_somebody_is_asked_is_not_kept() -> None:
    class Asking:
        name, instant = "guard", True

        async def check(self, given: ScreenInput) -> Verdict:
            return Verdict("ask", reason="may it?") if "FORBIDDEN" in given.text else ALLOW

    cancel = CancellationToken()

    def approve(name: str, arguments: dict[str, Any]) -> bool:
        cancel.cancel()
        time.sleep(0.1)
        return True

    model = ScriptedModel(["a few words FORBIDDEN and more<|eot_id|>"])
    with Agent(model, guards=policy(Asking(), "output"), approve=approve) as agent:
        conversation = agent.conversation()
        result = agent.run_sync("hello", conversation=conversation, cancel=cancel)
    assert result.stop_reason == "cancelled"
    assert result.output == conversation.messages[-1].content
    assert "FORBIDDEN" not in result.output
