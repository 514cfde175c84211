"""How a call and its result look: boxes on a terminal, plain lines elsewhere."""

import json
import re
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from arriero.prompts import CODE_INTERPRETER

from .settings import TOOLS
from .status_line import fit
from .terminal import Terminal, neutral

OUTPUT_LINES = 12
_ROOM_FOR_BOTH = 24  # cells; in fewer, the call alone says more than two stumps
_SHORT = {name: short for short, name in TOOLS.items()}
_STREAMS = re.compile(r"^completed(?:\n|$)|^\[/?std(?:out|err)\]\n?", re.MULTILINE)


def short_name(tool: str) -> str:
    """The name for people: ``python`` for ``code_interpreter``."""
    return _SHORT.get(tool) or neutral(tool).replace("\n", " ")


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """What is called, as text: the code, the query, or the arguments as ``name: value`` lines."""
    return neutral(written_call(name, arguments)).strip("\n")


def written_call(name: str, arguments: dict[str, Any]) -> str:
    """The same as it was written, whatever may be in it."""
    if name == CODE_INTERPRETER:
        return str(arguments.get("code", ""))
    if list(arguments) == ["query"]:
        return str(arguments["query"])
    return "\n".join(f"{key}: {_plain(value)}" for key, value in arguments.items())


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


@dataclass(frozen=True, slots=True)
class Shown:
    """A finished call; ``edited`` says that a person had changed its arguments."""

    name: str
    arguments: dict[str, Any]
    content: str
    ok: bool
    seconds: float
    edited: bool = False

    @property
    def about(self) -> str:
        """Whether it went well, whose arguments it had, how long it took."""
        what = [*([] if self.ok else ["failed"]), *(["as you changed it"] if self.edited else [])]
        return ", ".join([*what, f"{self.seconds:.1f} s"])


def print_call(
    console: Console, terminal: Terminal, shown: Shown, *, whole: bool = False, hint: str = ""
) -> None:
    """Show one finished call; results over OUTPUT_LINES are cut unless ``whole``, and ``hint`` follows."""
    name = short_name(shown.name)
    call, result = call_text(shown.name, shown.arguments), result_text(shown.name, shown.content)
    left = 0
    if not whole:
        result, left = cut(result)
    more = f"+{left} lines{hint}" if left else ""
    if not terminal.interactive:
        console.print(Text(_lines(name, call, result, more)))
        return
    parts: list[RenderableType] = [_call_renderable(shown.name, call, terminal)]
    if result:
        parts += [Rule(style="dim", characters=terminal.symbol("─", "-")), Text(result)]
    if more:
        parts.append(Text(more, style="dim"))
    dot = terminal.symbol("·", "-")
    shape = box.ROUNDED if terminal.unicode else box.ASCII
    console.print(
        Panel(
            Group(*parts),
            title=Text(f"{name} {dot} {shown.about}"),
            title_align="left",
            box=shape,
            border_style="dim" if shown.ok else "red",
        )
    )


def print_line(console: Console, terminal: Terminal, shown: Shown) -> None:
    """Show one finished call in a line: as much of the call as fits, and how its result begins."""
    dot, mark, arrow = terminal.symbol("·", "-"), terminal.symbol("●", "*"), terminal.symbol("→", "->")
    call = " ".join(call_text(shown.name, shown.arguments).split())
    result = " ".join(result_text(shown.name, shown.content).split())
    about = f" {dot} {shown.about}"
    room = max(0, terminal.width - 1 - len(about))
    both = bool(result) and room >= _ROOM_FOR_BOTH
    head = fit(f"{mark} {short_name(shown.name)} {call}", room * 2 // 3 if both else room)
    tail = fit(f" {arrow} {result}", room - cell_len(head)) if both else ""
    style = "dim" if shown.ok else "red"
    console.print(Text(f"{head}{tail}{about}", style=style), soft_wrap=True)


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
