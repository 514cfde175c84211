"""What a call does: the ``@tool`` decorator, Search, the sandboxed Python kernel, Wolfram|Alpha."""

from .base import Artifact, Effect, ModelRetry, Tool, ToolContext, ToolError, ToolResult
from .function import FunctionTool, ToolDefinitionError, as_tool, tool

__all__ = [
    "Artifact",
    "Effect",
    "FunctionTool",
    "ModelRetry",
    "Tool",
    "ToolContext",
    "ToolDefinitionError",
    "ToolError",
    "ToolResult",
    "as_tool",
    "tool",
]
