"""What a call does: the ``@tool`` decorator, Search, the sandboxed Python kernel, Wolfram|Alpha."""

from .base import Artifact, Effect, ModelRetry, Tool, ToolContext, ToolError, ToolResult

__all__ = ["Artifact", "Effect", "ModelRetry", "Tool", "ToolContext", "ToolError", "ToolResult"]
