"""Our default for Llama 3.1 and 3.3: what the weights were trained on, written without the references' slips."""

from ..calls import json_call, meta_query, python_list
from ..messages import BUILTIN_TOOLS, CODE_INTERPRETER, Message, ToolCall
from ..rendering import render_text
from .base import Framed, Opening, split_system
from .huggingface import HuggingFace
from .meta import MetaAdapter32


class Llama3(HuggingFace):
    """The default form, made of the parts on which documents and published templates agree.

    The head is the one of July 2024 (Meta's documentation and the published template: a blank line after the
    ``Tools`` line, full month name as llama-stack writes it). Functions are shown before the first user
    message as the published template does. Content is never trimmed and is encoded apart from its header, as
    llama-models does. Built-in calls and code carry ``<|python_tag|>`` and every call ends with
    ``<|eom_id|>``, as the model writes them; tool results are raw text. Several calls may stand in one
    message.
    """

    date_format = "%d %B %Y"
    seams = True

    def open(self, messages: list[Message], opening: Opening) -> list[Message]:
        system, rest = split_system(messages)
        functions = self._functions(opening) if opening.tools else ""
        text = render_text(
            "hf_system",
            environment=self._environment(opening),
            date=opening.date,
            functions="" if opening.tools_in_user_message else functions,
            system=_all_text(system) if system else "",
        )
        head = [Message(role="system", content=text)]
        if not functions or not opening.tools_in_user_message:
            return [*head, *rest]
        if rest and rest[0].role == "user":
            first = rest[0].model_copy(update={"content": functions + rest[0].content})
            return [*head, first, *rest[1:]]
        return [*head, Message(role="user", content=functions.rstrip("\n")), *rest]

    def frame(self, message: Message, opening: Opening) -> Framed:
        pieces = [message.content, *message.parts]
        if message.context is not None:
            pieces += ["\n\n", message.context]
        calls = message.tool_calls
        if not calls:
            return Framed(message.role, tuple(pieces), message.end if message.role == "assistant" else "eot")
        # The model writes text first, then the tag and the call.
        tag_at = len(pieces) if calls[0].name in BUILTIN_TOOLS else None
        written = [_write_call(call) for call in calls]
        return Framed("assistant", (*pieces, "; ".join(written)), "eom", tag_at)

    def _environment(self, opening: Opening) -> str:
        if not opening.any_tools:
            return ""
        listed = f"Tools: {opening.listed_tools}\n\n" if opening.listed_tools else ""
        return f"Environment: ipython\n{listed}"


class Llama32(MetaAdapter32):
    """The pythonic form of 3.2: llama-stack's head, and calls in the history as literals that can be read back.

    Meta's own encoder writes strings without escaping them and every call in a list of its own; what the model
    is told to write, and writes, is one list.
    """

    def frame(self, message: Message, opening: Opening) -> Framed:
        calls = message.tool_calls
        if message.role != "assistant" or any(call.name in BUILTIN_TOOLS for call in calls) or not calls:
            return super().frame(message, opening)
        pieces = (message.content, *message.parts, python_list(calls))
        return Framed("assistant", pieces, message.end)


def _all_text(message: Message) -> str:
    return "".join((message.content, *message.parts))


def _write_call(call: ToolCall) -> str:
    if call.name == CODE_INTERPRETER:
        return str(call.arguments.get("code", ""))
    return meta_query(call) if call.name in BUILTIN_TOOLS else json_call(call)
