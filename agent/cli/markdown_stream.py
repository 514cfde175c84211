"""Markdown that is shown while it is written, append-only: a line that is on the screen is never redrawn."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from .terminal import NeutralStream, Terminal, neutral

if TYPE_CHECKING:
    from rich.console import Console

Kind = Literal["prose", "list", "table", "fence"]
Render = Callable[[str, Kind], list[str]]

_FENCE: Final = re.compile(r"^( {0,3})(`{3,}|~{3,})\s*([\w+#.-]*)")
_ITEM: Final = re.compile(r"^ {0,1}(?:[-*+]|\d{1,9}[.)])(?: |$)")
_HEADING: Final = re.compile(r"^#{1,6} ")
_MARKS: Final = re.compile(r"`|\*\*|\*|__|\[|\]")

_LEAST_GROWTH: Final = 20  # characters; about half a line


class MarkdownStream:
    """Splits Markdown into blocks while it comes in, and writes what ``render`` makes of them line by line.

    Of a block that is not complete, those lines are written that what follows cannot change: all but the last of
    a paragraph whose inline marks are closed, and all complete lines of a fence. Tables wait until they end.
    """

    def __init__(self, render: Render, write: Callable[[str], None]) -> None:
        self._render = render
        self._write = write
        self._safe = NeutralStream()
        self._line = ""
        self._block: list[str] = []
        self._kind: Kind = "prose"
        self._fence = ""
        self._written = 0
        self._next = 0
        self._gap = False
        self._after_list = False

    @property
    def pending(self) -> str:
        """Source that was taken and is not on the screen yet; within a block some of it may be."""
        return "\n".join([*self._block[-1:], self._line])

    def feed(self, text: str) -> None:
        """Take the next piece."""
        self._add(self._safe.feed(text))

    def _add(self, text: str) -> None:
        *lines, rest = text.split("\n")
        for line in lines:
            self._take(self._line + line)
            self._line = ""
        self._line += rest
        if lines or rest:
            self._advance()

    def finish(self) -> None:
        """Write what is left; what is fed after this is another text."""
        self._add(self._safe.finish())
        if self._line:
            self._take(self._line)
        self._close()
        self._line, self._gap, self._fence, self._after_list = "", False, "", False

    def _take(self, line: str) -> None:
        if self._fence:
            self._inside_fence(line)
            return
        fence = _FENCE.match(line)
        if not line.strip():
            self._close()
            self._gap = True
        elif fence and not (self._kind == "list" and self._block and fence[1]):
            self._begin("fence", line)
            self._fence = fence[2]
        elif _HEADING.match(line):
            self._begin("prose", line)
            self._close()
        elif _ITEM.match(line):
            self._begin("list", line)
        elif line.startswith("|") and self._kind != "table":
            self._begin("table", line)
        elif self._block:
            self._block.append(line)
        else:
            self._begin("prose", line.lstrip() if self._after_list else line)

    def _inside_fence(self, line: str) -> None:
        self._block.append(line)
        closing = line.strip()
        if closing.startswith(self._fence) and not closing.strip(self._fence[0]):
            self._fence = ""
            self._close()

    def _begin(self, kind: Kind, line: str) -> None:
        self._close()
        self._block, self._kind = [line], kind

    def _close(self) -> None:
        if not self._block:
            return
        self._put(self._render("\n".join(self._block), self._kind))
        self._after_list = self._kind == "list"
        self._block, self._written, self._kind, self._next = [], 0, "prose", 0

    def _advance(self) -> None:
        """Write the lines of the open block that are settled."""
        size = sum(map(len, self._block)) + len(self._line)
        if size < self._next:
            return
        if self._kind == "fence" and self._block:
            self._put(self._render("\n".join(self._block), "fence"))
        elif self._kind == "prose" and self._block_is_prose():
            source = "\n".join([*self._block, self._line])
            if not _settled(source):
                return
            self._put(self._render(source, "prose")[:-1])
        # Rendering anew at every piece would take time that grows with the square of the block.
        self._next = size + _LEAST_GROWTH + size // 20

    def _block_is_prose(self) -> bool:
        # A first line that is not complete may still become an item, a heading, a table or a fence.
        return bool(self._block) or bool(re.match(r"\s{0,3}\w", self._line) and not _ITEM.match(self._line))

    def _put(self, lines: list[str]) -> None:
        for line in lines[self._written :]:
            if self._gap:
                self._write("\n")
                self._gap = False
            self._write(line + "\n")
        self._written = max(self._written, len(lines))


def _settled(source: str) -> bool:
    """Whether all inline marks are closed, so that no later text changes how the lines above the last look."""
    counts: dict[str, int] = {}
    for mark in _MARKS.findall(source):
        counts[mark] = counts.get(mark, 0) + 1
    links = counts.pop("[", 0), counts.pop("]", 0)
    return links[0] == links[1] and all(count % 2 == 0 for count in counts.values())


def renderer(console: "Console", terminal: Terminal) -> Render:
    """Renders blocks with rich, at the terminal's width of the moment."""
    from rich.markdown import Markdown

    def render(source: str, kind: Kind) -> list[str]:
        console.width = terminal.width
        with console.capture() as capture:
            if kind == "fence":
                _print_code(console, terminal, source)
            else:
                console.print(Markdown(source, code_theme="ansi_dark", hyperlinks=False))
        lines = [line.rstrip(" ") for line in capture.get().split("\n")]
        while lines and _is_blank(lines[-1]):
            lines.pop()
        while lines and _is_blank(lines[0]) and kind != "fence":
            lines.pop(0)
        return lines

    return render


def _is_blank(line: str) -> bool:
    return not neutral(line).strip()


def _print_code(console: "Console", terminal: Terminal, source: str) -> None:
    from rich.padding import Padding
    from rich.syntax import Syntax
    from rich.text import Text

    first, *body = source.split("\n")
    found = _FENCE.match(first)
    assert found is not None
    if body and body[-1].strip().startswith(found[2]) and not body[-1].strip().strip(found[2][0]):
        body.pop()
    code = "\n".join(body)
    if not body:
        return
    if not terminal.colour:
        console.print(Padding(Text(code), (0, 0, 0, 2)))
        return
    shown = Syntax(code, found[3] or "text", theme="ansi_dark", background_color="default", word_wrap=True)
    console.print(Padding(shown, (0, 0, 0, 2)))
