"""Messages of a conversation, in the roles of the Llama 3.x wire protocol."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant", "ipython"]
End = Literal["eot", "eom"]

BRAVE_SEARCH = "brave_search"
WOLFRAM_ALPHA = "wolfram_alpha"
CODE_INTERPRETER = "code_interpreter"
PHOTOGEN = "photogen"

BUILTIN_TOOLS = (BRAVE_SEARCH, WOLFRAM_ALPHA, PHOTOGEN, CODE_INTERPRETER)
"""Names with a wire form of their own (llama-models ``BuiltinTool``)."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolCall(_Frozen):
    """One call that the model asked for.

    ``raw_arguments`` holds arguments that could not be read as an object; ``arguments`` is then empty.
    """

    id: str = ""
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    raw_arguments: str | None = None


class ToolSpec(_Frozen):
    """What a model is told about a tool: name, description and the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})


class Message(_Frozen):
    """One message of a conversation.

    ``end`` is the token that closes it on the wire: ``eot`` ends the turn, ``eom`` (assistant only) says
    that a tool result is expected. ``parts`` are pieces of text that follow ``content`` and are encoded one
    by one; ``context`` is retrieved text that belongs to a user message; ``data`` is a tool result with
    structure, which forms that write results as JSON use instead of ``content``. ``tool_call_id`` and
    ``name`` say which call an ``ipython`` message answers; they are not written on the wire.
    """

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    end: End = "eot"
    parts: tuple[str, ...] = ()
    context: str | None = None
    data: Any = None
    tool_call_id: str | None = None
    name: str | None = None
