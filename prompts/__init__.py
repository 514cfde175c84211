"""The Llama 3.x wire protocol, pure and without I/O: messages, rendering, dialects, the call parser."""

from .coercion import coerce_arguments
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
from .parser import (
    ArgumentsDelta,
    CallDone,
    CallOpened,
    CallParser,
    CallSyntax,
    Malformed,
    Parsed,
    ParseEvent,
    TextDelta,
    parse,
)
from .segments import Segment

__all__ = [
    "BRAVE_SEARCH",
    "BUILTIN_TOOLS",
    "CODE_INTERPRETER",
    "PHOTOGEN",
    "WOLFRAM_ALPHA",
    "ArgumentsDelta",
    "ArrieroError",
    "CallDone",
    "CallOpened",
    "CallParser",
    "CallSyntax",
    "End",
    "Malformed",
    "Message",
    "ParseEvent",
    "Parsed",
    "PromptError",
    "Role",
    "Segment",
    "TextDelta",
    "ToolCall",
    "ToolSpec",
    "UnknownDialect",
    "coerce_arguments",
    "parse",
]
