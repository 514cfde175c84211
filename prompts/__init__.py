"""The Llama 3.x wire protocol, pure and without I/O: messages, rendering, dialects, the call parser."""

from .errors import ArrieroError, PromptError, UnknownDialect
from .messages import (
    BRAVE_SEARCH,
    BUILTIN_TOOLS,
    CODE_INTERPRETER,
    PHOTOGEN,
    WOLFRAM_ALPHA,
    End,
    Message,
    Role,
    ToolCall,
    ToolSpec,
)
from .segments import Segment

__all__ = [
    "BRAVE_SEARCH",
    "BUILTIN_TOOLS",
    "CODE_INTERPRETER",
    "PHOTOGEN",
    "WOLFRAM_ALPHA",
    "ArrieroError",
    "End",
    "Message",
    "PromptError",
    "Role",
    "Segment",
    "ToolCall",
    "ToolSpec",
    "UnknownDialect",
]
