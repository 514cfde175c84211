"""arriero drives Llama 3.x models through tool-using work on your own machine.

    from arriero import Agent, LlamaCppModel
    agent = Agent(LlamaCppModel("model.gguf"), tools=[my_function])
    print(agent.run_sync("…").output)

Names are loaded when they are first used: importing the package loads no model library, kernel or terminal
code.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arriero.agent import (
        Agent,
        ApprovalRules,
        CancellationToken,
        ConfigError,
        Conversation,
        DropToolOutputs,
        Edited,
        Journal,
        Limits,
        OutputReader,
        Refused,
        ReplayModel,
        RunResult,
        Session,
        SummariseTurns,
    )
    from arriero.agent.backends import (
        FunctionModel,
        HTTPModel,
        LlamaCppModel,
        Model,
        ModelError,
        Sampling,
        ScriptedModel,
    )
    from arriero.agent.models import bundled_model
    from arriero.agent.store import open_model
    from arriero.agent.tasks import Task
    from arriero.prompts import ArrieroError, Message, ToolCall, ToolSpec
    from arriero.tools import (
        ApprovalRequired,
        Artifact,
        ModelRetry,
        RunContext,
        Tool,
        ToolError,
        ToolFailed,
        ToolResult,
    )
    from arriero.tools.function import tool
    from arriero.tools.python import PythonTool
    from arriero.tools.search import BraveSearch
    from arriero.tools.wolfram import WolframAlpha

_HOME = {
    "arriero.agent": (
        "Agent",
        "ApprovalRules",
        "CancellationToken",
        "ConfigError",
        "Conversation",
        "DropToolOutputs",
        "Edited",
        "Journal",
        "Limits",
        "OutputReader",
        "Refused",
        "ReplayModel",
        "RunResult",
        "Session",
        "SummariseTurns",
    ),
    "arriero.agent.backends": (
        "FunctionModel",
        "HTTPModel",
        "LlamaCppModel",
        "Model",
        "ModelError",
        "Sampling",
        "ScriptedModel",
    ),
    "arriero.agent.models": ("bundled_model",),
    "arriero.agent.store": ("open_model",),
    "arriero.agent.tasks": ("Task",),
    "arriero.prompts": ("ArrieroError", "Message", "ToolCall", "ToolSpec"),
    "arriero.tools": (
        "ApprovalRequired",
        "Artifact",
        "ModelRetry",
        "RunContext",
        "Tool",
        "ToolError",
        "ToolFailed",
        "ToolResult",
    ),
    "arriero.tools.function": ("tool",),
    "arriero.tools.python": ("PythonTool",),
    "arriero.tools.search": ("BraveSearch",),
    "arriero.tools.wolfram": ("WolframAlpha",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Agent",
    "ApprovalRequired",
    "ApprovalRules",
    "ArrieroError",
    "Artifact",
    "BraveSearch",
    "CancellationToken",
    "ConfigError",
    "Conversation",
    "DropToolOutputs",
    "Edited",
    "FunctionModel",
    "HTTPModel",
    "Journal",
    "Limits",
    "LlamaCppModel",
    "Message",
    "Model",
    "ModelError",
    "ModelRetry",
    "OutputReader",
    "PythonTool",
    "Refused",
    "ReplayModel",
    "RunContext",
    "RunResult",
    "Sampling",
    "ScriptedModel",
    "Session",
    "SummariseTurns",
    "Task",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolFailed",
    "ToolResult",
    "ToolSpec",
    "WolframAlpha",
    "__version__",
    "bundled_model",
    "open_model",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("arriero")
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module 'arriero' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
