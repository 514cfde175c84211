"""Three outcomes of a call beside its answer, who may run it, and what it is given."""

from typing import Any

import pytest

from arriero.agent import Agent, Limits, Refused
from arriero.agent.backends import ScriptedModel
from arriero.agent.events import ApprovalRequested, Event, RunFinished
from arriero.prompts import ToolSpec
from arriero.tools import ApprovalRequired, ModelRetry, RunContext, ToolFailed
from arriero.tools.function import tool

CALL = '{"name": "pay", "parameters": {"sum": 7}}<|eom_id|>'
END = "Done.<|eot_id|>"
WAITS = "Error: pay was not run: the call needs the user's approval"


def run(pay: Any, **options: Any) -> tuple[list[str], list[Event]]:
    """What the model was told, and all events."""
    with Agent(ScriptedModel([CALL, END]), tools=[pay], **options) as agent:
        events = list(agent.stream_sync("Pay"))
    assert isinstance(events[-1], RunFinished)
    return [m.content for m in events[-1].new_messages if m.role == "ipython"], events


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (ModelRetry("give the currency"), "Error when running tool: give the currency"),
        (
            ToolFailed("the account is closed."),
            "Error when running tool: the account is closed. This is final: do not make this call again.",
        ),
        (TimeoutError("bank"), "Error when running tool: TimeoutError: bank"),
    ],
)
def test_faults_are_told_in_their_words(fault: Exception, told: str) -> None:
    @tool
    def pay(sum: int) -> None:  # noqa: A002
        raise fault

    messages, events = run(pay)
    assert messages == [told]
    assert events[-1].stop_reason == "final"  # type: ignore[union-attr]


@pytest.mark.parametrize("approve", [None, lambda name, arguments: None])
def test_a_call_that_nobody_decides_ends_the_run_unrun(approve: Any) -> None:
    paid: list[int] = []

    @tool(approval=True)
    def pay(sum: int) -> None:  # noqa: A002
        paid.append(sum)

    messages, events = run(pay, approve=approve)
    assert paid == []
    assert messages == [WAITS]
    asked = [event for event in events if isinstance(event, ApprovalRequested)]
    assert [(event.name, event.arguments) for event in asked] == [("pay", {"sum": 7})]
    assert (events[-1].stop_reason, events[-1].error) == ("approval", WAITS)  # type: ignore[union-attr]


def test_calls_after_an_undecided_one_are_answered_too() -> None:
    paid: list[int] = []

    @tool(approval=lambda arguments: arguments["sum"] > 5)
    def pay(sum: int) -> str:  # noqa: A002
        paid.append(sum)
        return "paid"

    one = '{"name": "pay", "parameters": {"sum": %d}}'
    model = ScriptedModel([f"{one % 1}; {one % 7}; {one % 2}<|eom_id|>", END])
    with Agent(model, tools=[pay]) as agent:
        conversation = agent.conversation()
        result = agent.run_sync("Pay", conversation=conversation)
        told = [m.content for m in result.messages if m.role == "ipython"]
        assert agent.run_sync("Never mind", conversation=conversation).output == "Done."
    assert (result.stop_reason, paid) == ("approval", [1])
    assert told == ["paid", WAITS, "Error: the call was not run, because the run ended before it."]


@pytest.mark.parametrize(
    ("decision", "paid", "told"),
    [
        (True, [7], "paid"),
        (False, [], "Error: pay was not run: the user did not allow this call."),
        (
            Refused("too dear"),
            [],
            "Error: pay was not run: the user did not allow this call and said why: too dear",
        ),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_approve_decides(decision: bool | Refused, paid: list[int], told: str, is_async: bool) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []
    called: list[int] = []

    def approve(name: str, arguments: dict[str, Any]) -> bool | Refused:
        asked.append((name, arguments))
        return decision

    async def approve_later(name: str, arguments: dict[str, Any]) -> bool | Refused:
        return approve(name, arguments)

    @tool(approval=lambda arguments: arguments["sum"] > 5)
    def pay(sum: int) -> str:  # noqa: A002
        called.append(sum)
        return "paid"

    messages, events = run(pay, approve=approve_later if is_async else approve)
    assert (asked, called, messages) == ([("pay", {"sum": 7})], paid, [told])
    assert events[-1].stop_reason == "final"  # type: ignore[union-attr]


def test_a_tool_may_ask_for_approval_itself_and_is_then_run_again() -> None:
    seen: list[bool] = []

    @tool
    def pay(ctx: RunContext[None], sum: int) -> str:  # noqa: A002
        seen.append(ctx.approved)
        if not ctx.approved:
            raise ApprovalRequired("the sum is large")
        return "paid"

    assert run(pay, approve=lambda name, arguments: True)[0] == ["paid"]
    assert seen == [False, True]
    assert run(pay)[0] == [f"{WAITS}: the sum is large"]


def test_a_tool_that_asks_for_ever_and_rules_and_approvers_that_break() -> None:
    def broken(*_: Any) -> bool:
        raise KeyError("lost")

    @tool
    def pay(sum: int) -> None:  # noqa: A002
        raise ApprovalRequired("always")

    assert run(pay, approve=lambda *_: True)[0] == ["Error when running tool: always"]
    assert run(pay, approve=broken)[0] == [
        "Error: pay was not run: asking for approval failed: KeyError: 'lost'"
    ]
    rule = tool(name="pay", approval=broken)(_pay)
    assert run(rule)[0] == ["Error when running tool: KeyError: 'lost'"]


def _pay(sum: int) -> None: ...  # noqa: A002


def test_dependencies_of_the_agent_and_of_a_run() -> None:
    @tool
    async def pay(ctx: RunContext[str], sum: int) -> str:  # noqa: A002
        return f"{ctx.deps} pays {sum} in {ctx.tool_name}"

    model = ScriptedModel([CALL, END, CALL, END, CALL, END])
    with Agent(model, tools=[pay], deps="Ana", limits=Limits(max_steps=2)) as agent:
        told = [
            [m.content for m in result.messages if m.role == "ipython"]
            for result in (agent.run_sync("Pay"), agent.run_sync("Pay", deps="Luis"), agent.run_sync("Pay"))
        ]
    assert told == [["Ana pays 7 in pay"], ["Luis pays 7 in pay"], ["Ana pays 7 in pay"]]


def test_a_schema_without_end_spoils_only_its_own_calls() -> None:
    @tool
    def pay(sum: int) -> None: ...  # noqa: A002

    pay.spec = ToolSpec(name="pay", description="", parameters={"type": "object", "$ref": "#"})
    assert run(pay)[0] == ["Error: the schema of pay cannot be used: RecursionError"]


def test_a_tool_knows_which_conversation_calls() -> None:
    heard: list[str] = []

    @tool
    def pay(context: RunContext[None], sum: int) -> None:  # noqa: A002
        heard.append(context.conversation_id)

    with Agent(ScriptedModel([CALL, END, CALL, END, CALL, END]), tools=[pay]) as agent:
        first, second = agent.conversation(), agent.conversation()
        for conversation in (first, second, first):
            agent.run_sync("Pay", conversation=conversation)
    assert heard == [first.id, second.id, first.id]
    assert first.id != second.id
