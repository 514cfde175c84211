"""A screen asks: a person decides that, and nothing that was said about calls in general."""

from collections.abc import Mapping
from typing import Any

import pytest

from arriero.agent.approval import ApprovalRules, Decision
from arriero.agent.backends import ScriptedModel
from arriero.agent.events import ApprovalRequested
from arriero.safety.base import ALLOW, Check, Place, ScreenInput, Verdict
from arriero.safety.policy import Policy
from arriero.tools import tool

from .loop import CALL, Sender, flagging, policy, run, shown

OBJECTS: Check = flagging("hello", "ask")
QUESTION = {
    "screen": "guard",
    "reason": "it says hello",
    "text": 'send(text="hello")',
    "tool": "send",
    "arguments": {"text": "hello"},
}


def asked_about_a_call(
    answers: Mapping[str, bool | None], *, approval: bool = False, rules: Mapping[str, Decision] | None = None
) -> tuple[list[tuple[str, dict[str, Any]]], int, str]:
    """What was asked, how often the call ran, and how the run ended, where a screen objects to the call."""
    sender = Sender()
    asked: list[tuple[str, dict[str, Any]]] = []

    def approve(name: str, arguments: dict[str, Any]) -> bool | None:
        asked.append((name, arguments))
        return answers[name]

    model = ScriptedModel([CALL, "Done.<|eot_id|>"])
    decides = ApprovalRules(rules, ask=approve) if rules else approve
    result, _ = run(
        model, policy(OBJECTS, "tool_call"), tools=[sender.made(approval=approval)], approve=decides
    )
    return asked, len(sender.sent), result.stop_reason


@pytest.mark.parametrize(
    ("answer", "sent", "reason"), [(True, 1, "final"), (False, 0, "final"), (None, 0, "approval")]
)
def test_a_person_decides_what_a_screen_objects_to(answer: bool | None, sent: int, reason: str) -> None:
    found = asked_about_a_call({"screen:tool_call": answer})
    assert found == ([("screen:tool_call", QUESTION)], sent, reason)


@pytest.mark.parametrize(("objection", "sent"), [(True, 1), (False, 0)])
def test_approving_a_call_does_not_answer_a_screen(objection: bool, sent: int) -> None:
    asked, ran, _ = asked_about_a_call({"send": True, "screen:tool_call": objection}, approval=True)
    assert ([name for name, _ in asked], ran) == (["send", "screen:tool_call"], sent)


def test_a_call_that_is_refused_is_not_asked_about_again() -> None:
    asked, ran, _ = asked_about_a_call({"send": False}, approval=True)
    assert ([name for name, _ in asked], ran) == (["send"], 0)


@pytest.mark.parametrize(
    ("rule", "asked", "sent"), [("allow", ["screen:tool_call"], 1), ("ask", ["send", "screen:tool_call"], 1)]
)
def test_rules_about_calls_do_not_answer_a_screen(rule: Decision, asked: list[str], sent: int) -> None:
    found, ran, _ = asked_about_a_call({"send": True, "screen:tool_call": True}, rules={"*": rule})
    assert ([name for name, _ in found], ran) == (asked, sent)


def test_a_rule_may_refuse_what_a_screen_would_ask_about() -> None:
    assert asked_about_a_call({}, rules={"send(*)": "deny"}) == ([], 0, "final")


def test_without_anybody_to_ask_a_rule_is_not_enough() -> None:
    sender = Sender()
    rules = ApprovalRules({"*": "allow"})
    result, events = run(
        ScriptedModel([CALL]), policy(OBJECTS, "tool_call"), tools=[sender.tool], approve=rules
    )
    assert (sender.sent, result.stop_reason) == ([], "approval")
    (waits,) = [event for event in events if isinstance(event, ApprovalRequested)]
    assert waits.reason == "it says hello"


def test_a_screen_of_code_shows_the_code_that_it_objects_to() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    @tool(name="code_interpreter")
    def interpreter(code: str) -> str:
        return "done"

    def approve(name: str, arguments: dict[str, Any]) -> bool:
        asked.append((name, arguments))
        return False

    model = ScriptedModel(["<|python_tag|>print('hello')<|eom_id|>", "Done.<|eot_id|>"])
    run(model, policy(OBJECTS, "code"), tools=[interpreter], approve=approve)
    assert [(name, subject["text"]) for name, subject in asked] == [("screen:code", "print('hello')")]


@pytest.mark.parametrize("place", ["input", "tool_result", "output"])
def test_what_one_screen_takes_out_stays_out_where_another_has_somebody_asked(place: Place) -> None:
    class Cleaning:
        name, instant = "cleaner", True

        async def check(self, given: ScreenInput) -> Verdict:
            new = given.text[given.passed :]
            if "hello" not in new:
                return ALLOW
            return Verdict("replace", replacement=new.replace("hello", "good day"))

    asked: list[str] = []

    def approve(name: str, arguments: dict[str, Any]) -> bool:
        asked.append(arguments["text"])
        return True

    class AskingAtOnce:
        name, instant = "asker", True

        async def check(self, given: ScreenInput) -> Verdict:
            return Verdict("ask", reason="may it?") if given.text else ALLOW

    async def ask(given: ScreenInput) -> Verdict:
        return Verdict("ask", reason="may it?")

    for asker in (ask, AskingAtOnce()):
        model = ScriptedModel([CALL, "hello<|eot_id|>"] if place == "tool_result" else ["hello<|eot_id|>"])
        sender = Sender("hello")
        guards = Policy.model_validate(
            {"screens": {"cleaner": Cleaning(), "asker": asker}, place: ["cleaner", "asker"]}
        )
        result, events = run(model, guards, tools=[sender.tool], approve=approve)
        assert result.stop_reason == "final"
        kept = {"input": "user", "tool_result": "ipython", "output": "assistant"}[place]
        assert [m.content for m in result.messages if m.role == kept][-1] == "good day"
        if place == "output":
            assert shown(events) == "good day"
        assert asked.pop() == "good day"


def test_a_call_of_which_something_would_be_replaced_is_not_asked_about() -> None:
    sender = Sender()
    guards = Policy.model_validate(
        {
            "screens": {
                "cleaner": lambda given: Verdict("replace", replacement="{}"),
                "asker": lambda given: Verdict("ask", reason="may it?"),
            },
            "tool_call": ["cleaner", "asker"],
        }
    )
    model = ScriptedModel([CALL, "Done.<|eot_id|>"])
    result, _ = run(model, guards, tools=[sender.tool], approve=lambda name, arguments: True)
    assert (result.stop_reason, sender.sent) == ("final", [])
