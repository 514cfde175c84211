"""A program that embeds arriero, as its author's type checker sees it: read by mypy and pyright, never run."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_type

from pydantic import BaseModel

from arriero import (
    Agent,
    ApprovalRules,
    CancellationToken,
    Conversation,
    DropToolOutputs,
    Edited,
    FunctionModel,
    Journal,
    Limits,
    Message,
    Model,
    Refused,
    RunContext,
    RunResult,
    ScriptedModel,
    Session,
    Tool,
    open_model,
    tool,
)
from arriero.agent.drawing import drawing
from arriero.agent.events import (
    ApprovalRequested,
    ContextCompacted,
    Event,
    GuardrailChecked,
    ModelRetried,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    StopReason,
    TextDelta,
    ToolCallDelta,
    ToolCallEdited,
    ToolCallFinished,
    ToolCallStarted,
    ToolOutputDelta,
    Usage,
)
from arriero.agent.journal.replay import replay
from arriero.agent.timeline import Timeline


@dataclass
class Shop:
    """What the tools need to know."""

    customer: str


class Receipt(BaseModel):
    """What the agent has to answer with."""

    order: int
    refunded: bool


@tool(effect="once", approval=lambda arguments: bool(arguments["order"]))
async def refund(ctx: RunContext[Shop], order: int) -> str:
    """Refund an order."""
    return f"{ctx.deps.customer} has order {order} refunded"


@tool(effect="read", timeout=2)
def look_up(order: int) -> dict[str, int]:
    """Look an order up."""
    return {"order": order}


def weigh(grams: float) -> str:
    """A plain function is a tool too."""
    return f"{grams} g"


async def tools_keep_their_signature(ctx: RunContext[Shop]) -> None:
    assert_type(look_up(3), dict[str, int])
    assert_type(await refund(ctx, 3), str)
    offered: list[Tool] = [refund, look_up]
    assert_type(offered[0].name, str)


def by_name_path_address_and_object() -> None:
    for model in ("bundled", "https://host/v1", Path("model.gguf"), ScriptedModel([]), open_model("bundled")):
        assert_type(Agent(model), Agent[str, Any])


def shop(model: Model) -> Agent[Receipt, Shop]:
    clerk = Agent(
        model,
        instructions="Be brief.",
        tools=[refund, look_up, weigh],
        deps_type=Shop,
        output_type=Receipt,
        approve=ApprovalRules({"look_up(*)": "allow", "*": "ask"}),
        limits=Limits(max_steps=5, max_seconds=10),
        guards="strict",
        context=DropToolOutputs(keep=1),
        hooks=[count],
        session="orders",
    )
    assert_type(clerk, Agent[Receipt, Shop])
    return clerk


def count(event: Event) -> None:
    """A hook is any callable that takes events."""


async def decide(name: str, arguments: dict[str, Any]) -> bool | Edited | None:
    """Somebody decides."""
    if name == "pay":
        return Edited({**arguments, "sum": 5})
    return None if name == "refund" else True


async def results(clerk: Agent[Receipt, Shop]) -> None:
    result = await clerk.run("Refund order 17", deps=Shop("Ana"), cancel=CancellationToken(), files=["a.txt"])
    assert_type(result, RunResult[Receipt])
    assert_type(result.data, Receipt | None)
    assert_type(result.output, str)
    assert_type(result.stop_reason, StopReason)
    assert_type(result.usage, Usage)
    assert_type(result.new_messages, tuple[Message, ...])
    assert_type(clerk.run_sync("Again"), RunResult[Receipt])
    async for one in clerk.map(["a", "b"], concurrency=2, deps=Shop("Ana")):
        assert_type(one.data, Receipt | None)
    async for one in clerk.map(questions()):
        assert_type(one, RunResult[Receipt])
    assert_type(clerk.map_sync(["a"]), list[RunResult[Receipt]])


async def questions() -> AsyncIterator[str]:
    yield "a"


async def texts(model: Model) -> None:
    result = await Agent(model).run("Hello")
    assert_type(result.data, str | None)
    numbers = Agent(model, output_type=list[int])
    assert_type((await numbers.run("Count")).data, list[int] | None)
    assert_type(Agent(model, deps=Shop("Ana")), Agent[str, Shop])


async def every_event(agent: Agent[Receipt, Shop]) -> None:
    async for event in agent.stream("Refund order 17"):
        assert_type(describe(event), str)
    for heard in agent.stream_sync("Refund order 17"):
        assert_type(heard, Event)


def describe(event: Event) -> str:
    match event:
        case RunStarted():
            return assert_type(event.model, str)
        case StepStarted():
            assert_type((event.step, event.context_tokens, event.new_tokens), tuple[int, int, int])
            return "step"
        case TextDelta() | ToolCallDelta() | ToolOutputDelta():
            return assert_type(event.text, str)
        case ToolCallStarted():
            assert_type(event.arguments, dict[str, Any])
            return event.name
        case ToolCallEdited():
            assert_type(event.arguments, dict[str, Any])
            return event.call_id
        case ToolCallFinished():
            return "ok" if assert_type(event.ok, bool) else event.content
        case GuardrailChecked():
            assert_type(event.action, Literal["allow", "replace", "retry", "ask", "block"])
            return event.screen
        case ApprovalRequested():
            return assert_type(event.call_id, str)
        case ContextCompacted():
            return assert_type(event.removed, str)
        case ModelRetried():
            return assert_type(event.reason, str)
        case StepFinished():
            assert_type(event.usage.decode_seconds, float)
            return event.end
        case RunFinished():  # without a case for each event both checkers would miss a return here
            return assert_type(event.stop_reason, StopReason)


async def approval_in_another_process(model: Model, kept: str) -> None:
    agent = Agent(model, tools=[refund], approve=decide)
    conversation = Conversation.load(kept, model)
    assert_type(conversation.dump(), str)
    if conversation.pending:
        decisions = {call.id: True for call in conversation.pending.to_decide}
        assert_type(decisions, dict[str, bool])
        await agent.run(conversation=conversation, decisions={"call-1-1": Edited({"order": 18})})
        await agent.run(conversation=conversation, decisions={"call-1-1": Refused("too dear")})
        again = await agent.run(conversation=conversation, decisions=decisions)
        assert_type(again, RunResult[str])


def sub_agents(model: Model) -> Agent[str, Any]:
    helper = Agent(model, output_type=Receipt, deps=Shop("Ana"))
    return Agent(model, tools=[helper.as_tool("helper", "Refunds orders."), weigh])


async def sessions(journal: Journal, model: Model) -> None:
    agent = Agent(model, session=Session("orders", journal=journal))
    assert_type(agent.session, Session | None)
    assert_type([info.name for info in journal.sessions()], list[str | None])
    assert_type(journal.events("last"), list[tuple[float, Event]])
    assert_type(drawing(Timeline.of(journal.events("last"))), str)
    async for event in replay(journal, "last"):
        assert_type(event, Event)


def doubles() -> Iterator[Model]:
    scripted = ScriptedModel(["Hi.<|eot_id|>"])
    scripted.assert_complete()
    yield scripted
    yield FunctionModel(lambda prompt: prompt.upper())


def wrong(clerk: Agent[Receipt, Shop]) -> None:
    """Each of these must be an error: a comment that silences nothing is one itself."""
    clerk.run_sync("x", deps="Ana")  # type: ignore[arg-type]
    clerk.run_sync("x", conversaton=None)  # type: ignore[call-arg]
    clerk.run_sync(3)  # type: ignore[arg-type]
    clerk.run_sync("x", approve=None)  # type: ignore[call-arg]
    print(clerk.run_sync("x").data.order)  # type: ignore[union-attr]
    look_up("3")  # type: ignore[arg-type]
    ApprovalRules({"*": "maybe"})  # type: ignore[dict-item]
    Limits(steps=3)  # type: ignore[call-arg]
