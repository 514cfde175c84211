"""An agent as a tool of another."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from arriero.prompts import ToolSpec
from arriero.tools import Tool, ToolContext, ToolError, ToolResult

from .events import Usage
from .limits import Limits

if TYPE_CHECKING:
    from .agent import Agent

_DEEPEST: Final = 4
_TIMEOUT: Final = 600.0


class Budget(Protocol):
    """What the run that makes a call has left, and a place to book what the call used."""

    def left(self) -> Mapping[str, int]:
        """Limits that are not unbounded, by their name in Limits."""

    def charge(self, usage: Usage) -> None:
        """Count what another run used as this one's."""


BUDGET: "ContextVar[Budget | None]" = ContextVar("arriero_budget", default=None)
_DEPTH: "ContextVar[int]" = ContextVar("arriero_depth", default=0)


class AgentTool(Tool):
    """A tool that gives a task to an agent and answers with what it says.

    The tokens and calls that the calling run has left bound the agent too, and count against that run; stopping
    it stops the agent. Agents that call each other are stopped four deep.
    """

    def __init__(self, agent: "Agent[Any]", name: str, description: str) -> None:
        self.agent = agent
        self.timeout = agent.limits.max_seconds or _TIMEOUT
        self.spec = ToolSpec(
            name=name,
            description=description,
            parameters={
                "type": "object",
                "properties": {"task": {"type": "string", "description": "what is to be done, in full"}},
                "required": ["task"],
            },
        )

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        depth, budget = _DEPTH.get(), BUDGET.get()
        if depth >= _DEEPEST:
            raise ToolError(
                f"agents call each other {_DEEPEST} deep already; do the task without {self.name}"
            )
        token = _DEPTH.set(depth + 1)
        try:
            limits = bounded(self.agent.limits, budget.left() if budget else {})
            result = await self.agent.run(
                arguments["task"], conversation=self.agent.conversation(), limits=limits
            )
        finally:
            _DEPTH.reset(token)
        if budget is not None:
            budget.charge(result.usage)
        if result.stop_reason == "final":
            return ToolResult(result.output)
        why = f"[{self.name} did not come to its end: {result.error or result.stop_reason}]"
        return ToolResult(f"{result.output}\n{why}".strip(), error=True)


def bounded(own: Limits, left: Mapping[str, int]) -> Limits:
    """The stricter of an agent's own limits and what is left."""
    tighter: dict[str, Any] = {}
    for name, most in left.items():
        mine: int | None = getattr(own, name)
        tighter[name] = max(0, most if mine is None else min(mine, most))
    return replace(own, **tighter)
