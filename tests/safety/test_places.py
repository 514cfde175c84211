"""Every action at every place, whoever decides on it: the screen, the rule, its threshold, or what was found."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from arriero.agent import Agent
from arriero.agent.backends import FunctionModel
from arriero.agent.events import GuardrailChecked, RunFinished
from arriero.safety.base import PLACES, Action, Place, ScreenInput, Verdict
from arriero.safety.policy import REFUSED, Policy, Rule
from arriero.tools import Tool, tool

from .loop import shown

BAD, GOOD = "a secret", "a blank"
WRITTEN: dict[Place, str] = {
    "tool_call": '{"name": "act", "parameters": {"text": "%s"}}<|eom_id|>',
    "tool_result": '{"name": "act", "parameters": {"text": "go"}}<|eom_id|>',
    "code": "<|python_tag|>print('%s')<|eom_id|>",
    "output": "It is %s.<|eot_id|>",
}


def finding(action: Action) -> Any:
    """A screen that finds one thing, of which it is fairly sure."""

    def check(given: ScreenInput) -> Verdict:
        if BAD not in given.text:
            return Verdict(score=0.1)
        rest = given.text[given.passed :].replace(BAD, GOOD)
        return Verdict(action, score=0.7, categories=("found",), replacement=rest)

    return check


WAYS: dict[str, Any] = {
    "screen": lambda action: (finding(action), Rule()),
    "rule": lambda action: (finding("block"), Rule(action=action)),
    "threshold": lambda action: (finding("allow"), Rule(action=action, threshold=0.6)),
    "category": lambda action: (finding("block"), Rule(action="block", categories={"found": action})),
}


@dataclass
class Played:
    """One run in which something is found at a place, if only the first time that the model writes there."""

    place: Place
    policy: Policy
    approve: bool | None = None
    acted: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        model = FunctionModel(self._write)
        agent = Agent(model, tools=[self._tool()], guards=self.policy, approve=lambda *_: self.approve)
        with agent:
            conversation = agent.conversation()
            asked = BAD if self.place == "input" else "go on"
            self.events = list(agent.stream_sync(asked, conversation=conversation))
        end = self.events[-1]
        assert isinstance(end, RunFinished)
        self.end = end
        self.shown = shown(self.events)
        self.kept = "\n".join(message.content for message in conversation.messages)
        self.told = [message.content for message in conversation.messages if message.role == "ipython"]
        found = [event for event in self.events if isinstance(event, GuardrailChecked) and event.categories]
        self.actions = [(event.place, event.action) for event in found]

    def _write(self, prompt: str) -> str:
        again = prompt in self.prompts
        self.prompts.append(prompt)
        if len(self.prompts) > 1 and not again:
            return "Done.<|eot_id|>"
        written = WRITTEN.get(self.place, "Done.<|eot_id|>")
        return written % (GOOD if again else BAD) if "%s" in written else written

    def _tool(self) -> Tool:
        answer = BAD if self.place == "tool_result" else "acted"

        def act(text: str = "", code: str = "") -> str:
            self.acted.append(text or code)
            return answer

        return tool(name="code_interpreter" if self.place == "code" else "act")(act)


def played(place: Place, action: Action, way: str = "rule", approve: bool | None = None) -> Played:
    screen, rule = WAYS[way](action)
    return Played(
        place, Policy.model_validate({"screens": {"guard": screen}, place: {"guard": rule}}), approve
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_allowed_passes_as_it_is(way: str, place: Place) -> None:
    run = played(place, "allow", way)
    assert run.end.stop_reason == "final", run.end.error
    assert BAD in run.kept + "".join(run.acted)


@pytest.mark.parametrize("place", PLACES)
def test_a_score_below_the_policys_threshold_is_no_finding(place: Place) -> None:
    rule = Rule(action="block", threshold=0.8)
    run = Played(
        place, Policy.model_validate({"screens": {"guard": finding("block")}, place: {"guard": rule}})
    )
    assert run.end.stop_reason == "final"
    assert run.actions[0] == (place, "allow")
    assert BAD in run.kept + "".join(run.acted)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_blocked_is_answered_politely_and_reaches_nobody(way: str, place: Place) -> None:
    run = played(place, "block", way)
    assert run.actions[0] == (place, "block")
    if place in ("input", "output"):
        assert (run.end.stop_reason, run.shown, run.end.output) == ("blocked", REFUSED, REFUSED)
    else:
        assert (run.end.stop_reason, run.shown) == ("final", "Done.")
        assert run.told == [run.policy.text(place, "act")]
    assert run.acted == (["go"] if place == "tool_result" else [])
    if place not in ("tool_call", "code"):  # the model's own call stays in its transcript, with the refusal
        assert not any(BAD in prompt for prompt in run.prompts)
    assert len(run.prompts) == {"input": 0, "output": 1}.get(place, 2)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_replaced_passes_as_its_replacement(way: str, place: Place) -> None:
    run = played(place, "replace", way)
    if place in ("tool_call", "code"):  # nothing that a model would not have written is run in its name
        assert (run.end.stop_reason, run.acted) == ("final", [])
        assert run.told == [run.policy.text(place, "act")]
        return
    assert run.end.stop_reason == "final"
    assert BAD not in run.kept + run.shown
    assert GOOD in run.kept


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("answer", [True, False, None])
def test_whoever_is_asked_decides(answer: bool | None, way: str, place: Place) -> None:
    run = played(place, "ask", way, answer)
    acts = place in ("tool_call", "code", "tool_result")
    if answer:
        assert run.end.stop_reason == "final"
        assert BAD in run.kept + "".join(run.acted)
        return
    asking = answer is None and place in ("tool_call", "code")
    expected = "approval" if asking else "final" if acts else "blocked"
    assert run.end.stop_reason == expected, run.end.error
    assert run.acted == (["go"] if place == "tool_result" else [])
    assert BAD not in run.shown + "".join(run.told)


@pytest.mark.parametrize("place", ["tool_call", "code", "output"])
@pytest.mark.parametrize("way", WAYS)
def test_what_shall_be_written_anew_is(way: str, place: Place) -> None:
    run = played(place, "retry", way)
    assert run.end.stop_reason == "final"
    assert BAD not in run.kept + run.shown + "".join(run.acted)
    assert GOOD in run.kept + run.shown + "".join(run.acted)


@pytest.mark.parametrize("place", ["input", "tool_result"])
def test_what_no_model_has_written_cannot_be_written_anew(place: Place) -> None:
    for rule in ({"action": "retry"}, {"categories": {"found": "retry"}}):
        with pytest.raises(ValidationError, match="retry is for what the model writes"):
            Policy.model_validate({place: {"guard": rule}})
    run = played(place, "retry", "screen")
    assert run.end.stop_reason == ("blocked" if place == "input" else "final")
    assert BAD not in run.kept + run.shown
