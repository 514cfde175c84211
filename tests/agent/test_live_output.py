"""Output that is shown while a tool runs: screened like what comes of it, or held until that has been."""

from typing import Any

import pytest

from arriero.agent import Agent
from arriero.agent.backends import ScriptedModel
from arriero.agent.events import Event, ToolCallFinished, ToolOutputDelta
from arriero.safety.base import ALLOW, ScreenInput, Verdict
from arriero.safety.policy import Policy, Rule
from arriero.tools import ToolContext, tool

HIDDEN = "\u200b\u2062"


class Judge:
    """A screen for the word ``evil``; ``instant`` says whether it answers at once."""

    name = "judge"

    def __init__(self, action: Any, *, instant: bool) -> None:
        self.instant = instant
        self._action = action

    async def check(self, given: ScreenInput) -> Verdict:
        return Verdict(self._action, reason="it is evil") if "evil" in given.text else ALLOW


@tool
def work(ctx: ToolContext) -> str:
    """Say what is done."""
    for stream, text in (
        ("stdout", "one "),
        ("stdout", f"tw{HIDDEN}o "),
        ("stderr", "evil "),
        ("stderr", "three"),
    ):
        ctx.on_output(stream, text)
    return "evil work is done"


def shown(guards: Any) -> tuple[str, str, str]:
    """What was shown of both streams while the tool ran, and what the model read then."""
    model = ScriptedModel(['{"name": "work", "parameters": {}}<|eom_id|>', "Done.<|eot_id|>"])
    with Agent(model, tools=[work], guards=guards) as agent:
        events: list[Event] = list(agent.stream_sync("Go"))
    kinds = [event.type for event in events]
    if "tool_output_delta" in kinds:
        assert kinds.index("tool_output_delta") < kinds.index("tool_call_finished")
    pieces = [event for event in events if isinstance(event, ToolOutputDelta)]
    out, err = ("".join(one.text for one in pieces if one.stream == name) for name in ("stdout", "stderr"))
    (finished,) = [event for event in events if isinstance(event, ToolCallFinished)]
    return out, err, finished.content


def judged(action: Any, *, instant: bool) -> Policy:
    return Policy.model_validate(
        {"screens": {"judge": Judge(action, instant=instant)}, "tool_result": {"judge": Rule()}}
    )


def test_unscreened_it_comes_as_it_is() -> None:
    assert shown("off") == (f"one tw{HIDDEN}o ", "evil three", "evil work is done")


def test_patterns_are_taken_out_on_its_way() -> None:
    assert shown("default") == ("one two ", "evil three", "evil work is done")


@pytest.mark.parametrize("action", ["block", "ask", "retry"])
def test_a_screen_that_answers_at_once_stops_what_it_blocks(action: Any) -> None:
    out, err, content = shown(judged(action, instant=True))
    assert out == f"one tw{HIDDEN}o "
    assert err == ""
    assert "withheld" in content


@pytest.mark.parametrize("action", ["block", "allow"])
def test_before_a_screen_that_takes_its_time_has_read_the_result_nothing_is_shown(action: Any) -> None:
    assert shown(judged(action, instant=False))[:2] == ("", "")
