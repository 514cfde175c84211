"""Renders dialogues through `arriero.prompts`, marking what the model itself has to write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from arriero.prompts import BRAVE_SEARCH, CODE_INTERPRETER, WOLFRAM_ALPHA, Message, ToolCall, ToolSpec
from arriero.prompts.dialects import get_dialect

from .dialog import Context, Turn, Turns

SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|finetune_right_pad_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    *(f"<|reserved_special_token_{n}|>" for n in range(8)),
)
"""All control tokens of the vocabulary, by the names that Llama 3.1 gives them."""


@dataclass(frozen=True)
class Piece:
    """A piece of a rendered dialogue; `own` says that the model has to write it."""

    text: str
    special: bool
    own: bool


def message(turn: Turn) -> Message:
    """The message of a turn."""
    if turn.kind == "user":
        return Message(role="user", content=turn.text)
    if turn.kind == "result":
        return Message(role="ipython", content=turn.text, name=turn.name)
    if turn.kind == "answer":
        return Message(role="assistant", content=turn.text)
    arguments = {"code": turn.text} if turn.kind == "code" else dict(turn.arguments)
    return Message(role="assistant", tool_calls=(ToolCall(name=turn.name, arguments=arguments),), end="eom")


def messages(context: Context, turns: Turns) -> list[Message]:
    """The system message and those of the turns."""
    return [Message(role="system", content=context.instructions), *(message(turn) for turn in turns)]


def tools(context: Context) -> tuple[list[ToolSpec] | None, list[str] | None]:
    """The functions and the names of the built-in tools that are offered."""
    named = (
        (BRAVE_SEARCH, context.search),
        (WOLFRAM_ALPHA, context.wolfram),
        (CODE_INTERPRETER, context.python),
    )
    builtin = [name for name, offered in named if offered]
    functions = [ToolSpec(**spec) for spec in context.functions]
    return functions or None, builtin or None


def pieces(context: Context, turns: Turns) -> list[Piece]:
    """The dialogue on the wire."""
    functions, builtin = tools(context)
    day = datetime.strptime(context.date, "%d %B %Y").date()
    rendered = get_dialect().render(
        messages(context, turns), tools=functions, builtin_tools=builtin, date=day, answer=False
    )
    out: list[Piece] = []
    role, header_end = "", 0
    for at, segment in enumerate(rendered):
        if segment.special and segment.text == "<|start_header_id|>":
            role, header_end = rendered[at + 1].text, at + 3
        own = role == "assistant" and at > header_end
        out.append(Piece(segment.text, segment.special, own))
    return out


def runs(context: Context, turns: Turns) -> list[str]:
    """The texts of the dialogue, headers included, with a newline in the place of each control token."""
    out = [""]
    before: Piece | None = None
    for piece in pieces(context, turns):
        starts = (
            piece.text == "<|start_header_id|>" and before is not None and before.text != "<|begin_of_text|>"
        )
        if starts or (before is not None and piece.own and not before.own):
            out.append("")
        out[-1] += "\n" if piece.special else piece.text
        before = piece
    return out
