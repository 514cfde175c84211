"""The forms of Meta's own code: llama-models' message encoder, and llama-stack's two ways to open a
conversation.
"""

import re

from ..calls import meta_call
from ..messages import CODE_INTERPRETER, Message, ToolSpec
from ..rendering import render_text
from .base import Dialect, Framed, Opening, split_system

_SLOT = re.compile(r"\{\{\s*function_description\s*\}\}")
"""Where a system text that replaces the form's own wants the functions."""


def encode_message(message: Message, form: str, *, always_tag: bool = False) -> Framed:
    """A message as llama-models' ``ChatFormat.encode_message`` splits it.

    The tag is written only when the first call is code; releases before February 2025 (``always_tag``) wrote
    it before any call.
    """
    pieces = [message.content, *message.parts]
    if message.role == "user" and message.context is not None:
        pieces += ["\n\n", message.context]
    calls = message.tool_calls if message.role == "assistant" else ()
    pieces += [meta_call(call, form) for call in calls]
    tag = bool(calls) and (always_tag or calls[0].name == CODE_INTERPRETER)
    end = message.end if message.role == "assistant" else "eot"
    return Framed(message.role, tuple(pieces), end, 0 if tag else None)


class MetaMessages(Dialect):
    """llama-models' encoder alone: nothing is added before the messages."""

    def __init__(self, name: str, form: str = "json", *, always_tag: bool = False) -> None:
        self.name = name
        self.form = form
        self.always_tag = always_tag

    def open(self, messages: list[Message], opening: Opening) -> list[Message]:
        return messages

    def frame(self, message: Message, opening: Opening) -> Framed:
        return encode_message(message, self.form, always_tag=self.always_tag)


def _parameters(tool: ToolSpec) -> list[dict[str, object]]:
    """A tool's parameters as Meta's ``ToolDefinition`` holds them."""
    required = tool.parameters.get("required", ())
    return [
        {
            "name": name,
            "type": str(schema.get("type", "string")),
            "description": str(schema.get("description", "")),
            "required": name in required,
            "default": schema.get("default"),
        }
        for name, schema in tool.parameters.get("properties", {}).items()
    ]


def _described(tools: tuple[ToolSpec, ...]) -> list[dict[str, object]]:
    return [
        {
            "name": tool.name,
            "description": tool.description,
            "parameters": (parameters := _parameters(tool)),
            "table": {
                p["name"]: {
                    "param_type": p["type"],
                    "description": p["description"],
                    "required": p["required"],
                }
                for p in parameters
            },
        }
        for tool in tools
    ]


def _functions_message(opening: Opening, form: str) -> list[Message]:
    if not opening.tools:
        return []
    template = "meta_functions_tag" if form == "function_tag" else "meta_functions_json"
    return [Message(role="user", content=render_text(template, tools=_described(opening.tools)))]


def _lines(message: Message) -> str:
    """Parts of a system text as llama-stack joins them."""
    return "\n".join((message.content, *message.parts) if message.content else message.parts)


def _tool_choice(opening: Opening) -> str:
    if opening.tool_choice in ("auto", "none"):
        return ""
    if opening.tool_choice == "required":
        return "\nYou MUST use one of the provided functions/tools to answer the user query."
    return f"\nYou MUST use the tool `{opening.tool_choice}` to answer the user query."


class MetaAdapter31(MetaMessages):
    """llama-stack's server path for 3.1 (``augment_messages_for_tools_llama_3_1``), form json or
    function_tag.
    """

    def open(self, messages: list[Message], opening: Opening) -> list[Message]:
        system, rest = split_system(messages)
        text = render_text("meta_system", opening=opening)
        if system:
            text += "\n" + _lines(system)
        text += _tool_choice(opening)
        return [Message(role="system", content=text), *_functions_message(opening, self.form), *rest]


class MetaInterface31(MetaMessages):
    """``LLama31Interface`` of llama-stack, which made the examples in Meta's prompt-format pages (Sept. 2024
    on).
    """

    def open(self, messages: list[Message], opening: Opening) -> list[Message]:
        system, rest = split_system(messages)
        text = render_text("meta_system", opening=opening)
        if system and _lines(system):
            text += f"\n\n{_lines(system)}"
        return [Message(role="system", content=text + "\n"), *_functions_message(opening, self.form), *rest]


class MetaAdapter32(MetaMessages):
    """llama-stack's server path for 3.2 text models and 3.3: pythonic calls, one system message, no dates.

    Where nothing is to be said the system message is empty, but it is written.
    """

    def open(self, messages: list[Message], opening: Opening) -> list[Message]:
        system, rest = split_system(messages)
        own = _lines(system) if system else ""
        text = render_text("meta_environment", opening=opening) if opening.builtin_tools else ""
        if opening.tools:
            functions = render_text("meta_functions_pythonic", tools=_described(opening.tools))
            if opening.replace_system and own:
                # the reference renders this text as a template, which loses one newline at its end
                text += _SLOT.sub(lambda _: functions, own.removesuffix("\n")) + "\n"
            else:
                text += render_text("meta_pythonic_system") + functions + f"\n{own}"
        else:
            text += own
        text += _tool_choice(opening)
        return [Message(role="system", content=text.strip("\n")), *rest]
