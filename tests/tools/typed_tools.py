"""A typical use of tools, for type checkers: test_typing.py runs mypy on it."""

from dataclasses import dataclass
from typing import Any

from arriero import Agent, ScriptedModel
from arriero.tools import ApprovalRequired, RunContext, ToolContext, ToolResult, tool


@dataclass
class Shop:
    prices: dict[str, float]


@tool
def price(ctx: RunContext[Shop], item: str) -> float:
    """Price of an item."""
    return ctx.deps.prices[item]


@tool(approval=lambda arguments: arguments["n"] > 3, max_concurrency=2)
async def order(item: str, n: int = 1, *, ctx: RunContext[Shop]) -> ToolResult:
    """Order items."""
    if item not in ctx.deps.prices and not ctx.approved:
        raise ApprovalRequired("not in the list")
    ctx.on_output("stdout", ctx.call_id)
    return ToolResult(f"{n} of {item}")


@tool
def loose(context: ToolContext) -> list[str]:
    """Anything."""
    return [str(context.deps)]


def approve(name: str, arguments: dict[str, Any]) -> bool | None:
    return name == "order"


shop = Shop({"tea": 2.5})
cost: float = price(RunContext(deps=shop), "tea")
agent = Agent(ScriptedModel(["Hi.<|eot_id|>"]), tools=[price, order, loose], deps=shop, approve=approve)
answer: str = agent.run_sync("Hi", deps=Shop({})).output
