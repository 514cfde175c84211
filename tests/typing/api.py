"""What a user's type checker must accept, and what types it must find; read by a checker, never run."""

from collections.abc import AsyncIterator
from typing import assert_type

from pydantic import BaseModel

from arriero import (
    Agent,
    ApprovalRules,
    CancellationToken,
    Conversation,
    Journal,
    Limits,
    RunContext,
    RunResult,
    ScriptedModel,
    Session,
    tool,
)
from arriero.agent.events import Event, RunFinished, TextDelta


class Deps(BaseModel):
    user: str


@tool
def greet(ctx: RunContext[Deps], name: str) -> str:
    """Greet somebody."""
    return f"{ctx.deps.user} greets {name}"


def plain(x: int) -> int:
    """A plain function is a tool too."""
    return x


async def runs(journal: Journal) -> None:
    model = ScriptedModel(["Hi.<|eot_id|>"])
    agent = Agent(
        model, tools=[greet, plain], limits=Limits(max_steps=3), session=Session("s", journal=journal)
    )
    result = await agent.run("Hello", deps=Deps(user="Ana"), cancel=CancellationToken())
    assert_type(result.output, str)
    async for event in agent.stream("Hello", conversation=agent.conversation()):
        assert_type(event, Event)
        if isinstance(event, TextDelta):
            assert_type(event.text, str)
        elif isinstance(event, RunFinished):
            assert_type(event.output, str)
    conversation: Conversation = agent.conversation()
    again = await agent.run(conversation=conversation, decisions={"call-1-1": True})
    assert_type(again.stop_reason == "final", bool)
    async for one in agent.map(["a", "b"], concurrency=2):
        assert_type(one.usage.output_tokens, int)


async def tasks() -> AsyncIterator[str]:
    yield "a"


def wrong(agent: "Agent[str]") -> RunResult[str]:
    agent.run_sync("x", conversaton=None)  # type: ignore[call-arg]
    agent.run_sync(3)  # type: ignore[arg-type]
    ApprovalRules({"*": "maybe"})  # type: ignore[dict-item]
    return agent.run_sync("x", approve=None)  # type: ignore[call-arg]
