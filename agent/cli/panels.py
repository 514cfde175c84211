"""How a call and its result look: boxes on a terminal, plain lines elsewhere."""

import json
import re
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from arriero.prompts import CODE_INTERPRETER

from .settings import TOOLS
from .terminal import Terminal, neutral

OUTPUT_LINES = 12
_SHORT = {name: short for short, name in TOOLS.items()}
_STREAMS = re.compile(r"^completed(?:\n|$)|^\[/?std(?:out|err)\]\n?", re.MULTILINE)


def short_name(tool: str) -> str:
    """The name for people: ``python`` for ``code_interpreter``."""
    return _SHORT.get(tool) or neutral(tool).replace("\n", " ")


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """What is called, as text: the code, the query, or the arguments as ``name: value`` lines."""
    if name == CODE_INTERPRETER:
        return neutral(str(arguments.get("code", ""))).strip("\n")
    if list(arguments) == ["query"]:
        return neutral(str(arguments["query"]))
    return neutral("\n".join(f"{key}: {_plain(value)}" for key, value in arguments.items()))


def result_text(name: str, content: str) -> str:
    """A result for people: without the marks that the wire form puts around a program's output."""
    text = _STREAMS.sub("", content) if name == CODE_INTERPRETER else content
    return neutral(text).strip("\n").expandtabs(4)


def cut(text: str, lines: int = OUTPUT_LINES) -> tuple[str, int]:
    """The first ``lines`` lines, and how many were left out."""
    every = text.split("\n")
    if len(every) <= lines + 1:
        return text, 0
    return "\n".join(every[:lines]), len(every) - lines


def print_call(
    console: Console,
    terminal: Terminal,
    name: str,
    arguments: dict[str, Any],
    content: str,
    *,
    ok: bool,
    seconds: float,
    whole: bool = False,
    hint: str = "",
) -> None:
    """Show one finished call; results over OUTPUT_LINES are cut unless ``whole``, and ``hint`` follows."""
    call, result = call_text(name, arguments), result_text(name, content)
    left = 0
    if not whole:
        result, left = cut(result)
    more = f"+{left} lines{hint}" if left else ""
    if not terminal.interactive:
        console.print(Text(_lines(short_name(name), call, result, more)))
        return
    parts: list[RenderableType] = [_call_renderable(name, call, terminal)]
    if result:
        parts += [Rule(style="dim", characters=terminal.symbol("─", "-")), Text(result)]
    if more:
        parts.append(Text(more, style="dim"))
    colour = "dim" if ok else "red"
    title = f"{short_name(name)} {terminal.symbol('·', '-')} {'' if ok else 'failed, '}{seconds:.1f} s"
    shape = box.ROUNDED if terminal.unicode else box.ASCII
    console.print(Panel(Group(*parts), title=Text(title), title_align="left", box=shape, border_style=colour))


def _call_renderable(name: str, call: str, terminal: Terminal) -> RenderableType:
    if name == CODE_INTERPRETER and terminal.colour:
        return Syntax(call, "python", theme="ansi_dark", background_color="default", word_wrap=True)
    return Text(call)


def _lines(name: str, call: str, result: str, more: str) -> str:
    called = "\n".join(f"{name}> {line}" for line in call.split("\n"))
    answered = "\n".join(f"  {line}" for line in result.split("\n") if result)
    return "\n".join(part for part in (called, answered, more and f"  {more}") if part)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
