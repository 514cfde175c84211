"""AgentDojo's tasks and attacks through arriero's own loop and screens.

    python tests/conformance/agentdojo_loop.py REPLAY [--part A|B] [--guard none|oracle|leaky]

REPLAY is the folder of the public script ``agentdojo_replay.py``, whose model obeys any injected text that it
sees; its guard becomes a screen of tool results. It needs ``agentdojo`` 0.1.35 beside arriero. Part A plays the 97
tasks, part B the 949 pairs of tasks and attacks.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any

from arriero import Agent, FunctionModel, Limits, Tool, ToolResult
from arriero.prompts.messages import ToolSpec
from arriero.safety.base import ALLOW, ScreenInput, Verdict
from arriero.safety.policy import Policy
from arriero.tools import ToolContext

Seen = list[tuple[str, str]]
_ROLES = {"ipython": "tool"}
_LIMITS = Limits(max_steps=500, max_repeats=500, max_output_chars=10**9)


class _Played(Tool):
    """A tool of the suite: it is called by name, and its arguments are the suite's to check."""

    def __init__(self, name: str, execute: Callable[[str, dict[str, Any]], str]) -> None:
        self.spec = ToolSpec(name=name)
        self._execute = execute

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult(self._execute(self.name, arguments))


class _Any(dict[str, Tool]):
    """Whatever the model calls is a tool of the suite."""

    def __init__(self, execute: Callable[[str, dict[str, Any]], str]) -> None:
        super().__init__()
        self._execute = execute

    def get(self, name: str, default: Any = None) -> Tool:
        return self[name]

    def __missing__(self, name: str) -> Tool:
        return _Played(name, self._execute)


def loop(
    model: Callable[[Seen], str], execute: Callable[[str, dict[str, Any]], str], guard: Callable[[str], str]
) -> Seen:
    """One task; ``guard`` returns what may be read of a result. Returns what the model has seen and said."""

    async def screen(given: ScreenInput) -> Verdict:
        return ALLOW if guard(given.text) == given.text else Verdict("block")

    def seen() -> Seen:
        return [(_ROLES.get(one.role, one.role), one.content) for one in conversation.messages]

    guards = Policy.preset("default").with_screen("guard", screen, "tool_result")
    scripted = FunctionModel(lambda prompt: _ended(model(seen())))
    with Agent(scripted, instructions="", limits=_LIMITS, guards=guards) as agent:
        agent.tools = _Any(execute)
        conversation = agent.conversation()
        result = agent.run_sync("Do the task.", conversation=conversation)
        if result.error:
            raise RuntimeError(result.error)
        return seen()


def _ended(text: str) -> str:
    return text if text.endswith(("<|eot_id|>", "<|eom_id|>")) else text + "<|eot_id|>"


def main() -> None:
    """Run the public script with our loop in the place of its own."""
    sys.path.insert(0, sys.argv.pop(1))
    replay = importlib.import_module("agentdojo_replay")
    replay.reference_loop = loop
    replay.main()


if __name__ == "__main__":
    main()
