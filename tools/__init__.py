"""What a call does: the ``@tool`` decorator, Search, the sandboxed Python kernel, Wolfram|Alpha."""

from .base import (
    ApprovalRequired,
    Artifact,
    Effect,
    ModelRetry,
    RunContext,
    Tool,
    ToolContext,
    ToolError,
    ToolFailed,
    ToolResult,
)
from .function import FunctionTool, ToolDefinitionError, as_tool, tool

__all__ = [
    "ApprovalRequired",
    "Artifact",
    "Effect",
    "FunctionTool",
    "ModelRetry",
    "RunContext",
    "Tool",
    "ToolContext",
    "ToolDefinitionError",
    "ToolError",
    "ToolFailed",
    "ToolResult",
    "as_tool",
    "tool",
]
