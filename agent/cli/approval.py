"""Asks the person at the terminal about calls that need approval."""

import asyncio
import os
import queue
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from arriero.tools import Tool

from .terminal import Terminal, neutral

ReadKey = Callable[[float], str]
"""Waits so many seconds for keys; empty when none was pressed. Raises EOFError where none can come any more."""

_TICK: Final = 0.1
_CHOICES: Final = "y runs it, n refuses, a runs this tool's calls from now on, w shows why, Ctrl-C stops here"


@dataclass(frozen=True, slots=True)
class _Question:
    name: str
    arguments: dict[str, Any]
    answer: "Future[bool | None]" = field(default_factory=Future)


class Approver:
    """Decides calls that need approval by asking a person, who may answer for all later calls of a tool at once.

    Calls come from the thread that runs the agent; the person is asked by whoever calls ``attend``, so that keys
    and the screen have one user. Without ``terminal`` nobody is asked and the call stays undecided, which ends
    the run. ``find`` returns a tool by the name that the model uses.
    """

    def __init__(self) -> None:
        self.terminal: Terminal | None = None
        self.find: Callable[[str], Tool | None] = lambda name: None
        self._always: set[str] = set()
        self._questions: queue.SimpleQueue[_Question] = queue.SimpleQueue()

    async def __call__(self, name: str, arguments: dict[str, Any]) -> bool | None:
        """What the person decides; None when nobody can be asked or the person leaves it open."""
        if name in self._always:
            return True
        if self.terminal is None:
            return None
        question = _Question(name, arguments)
        self._questions.put(question)
        # A run that ends meanwhile cancels the question with this.
        return await asyncio.wrap_future(question.answer)

    def attend(self, read_key: ReadKey | None = None) -> None:
        """Ask about the calls that wait, if any do; from the main thread."""
        while True:
            try:
                question = self._questions.get_nowait()
            except queue.Empty:
                return
            if question.answer.done():
                continue
            decision = self._asked(question, read_key)
            try:
                question.answer.set_result(decision)
            except InvalidStateError:
                continue  # the run has ended in the meantime

    def _asked(self, question: _Question, read_key: ReadKey | None) -> bool | None:
        self._say(f"{_call(question, whole=False)}\n{_CHOICES}", fresh=True)
        try:
            if read_key is not None:
                return self._decided(question, read_key)
            with _keys() as keys:
                return self._decided(question, keys)
        except (KeyboardInterrupt, EOFError, OSError, termios.error):
            self._say("not decided")
            return None

    def _decided(self, question: _Question, read_key: ReadKey) -> bool | None:
        while not question.answer.done():
            match read_key(_TICK).strip():
                case "y":
                    self._say("yes")
                    return True
                case "n":
                    self._say("no")
                    return False
                case "a":
                    self._always.add(question.name)
                    self._say(f"always {question.name}")
                    return True
                case "w" | "?":
                    self._say(f"{_call(question, whole=True)}\n{_why(self.find(question.name))}\n{_CHOICES}")
                case "":
                    pass
                case _:
                    self._say(_CHOICES)
        return None

    def _say(self, text: str, *, fresh: bool = False) -> None:
        assert self.terminal is not None
        stream = self.terminal.stream
        # The line that tells how long the call has been waiting.
        start = "\r\x1b[2K" if fresh and self.terminal.interactive else ""
        stream.write(start + neutral(text) + "\n")
        stream.flush()


def _call(question: _Question, *, whole: bool) -> str:
    from .panels import call_text, cut, short_name

    text, left = call_text(question.name, question.arguments), 0
    if not whole:
        text, left = cut(text)
    more = f"\n  +{left} lines, w shows all" if left else ""
    indented = "".join(f"\n  {line}" for line in text.split("\n") if text)
    return f"may {short_name(question.name)} run?{indented}{more}"


def _why(tool: Tool | None) -> str:
    """Who offers the tool, and what makes its calls need approval."""
    from arriero.tools.mcp import MCPTool

    if tool is None:
        return "It is not known who offers this tool."
    described = f"{tool.name}: {tool.spec.description}\n" if tool.spec.description else ""
    if isinstance(tool, MCPTool):
        asked = "the configuration asks for approval of all its calls"
        if tool.approval != "always":
            asked = "its server does not say that it only reads"
        return f"{described}The MCP server {tool.server.name} offers it, and {asked}."
    return f"{described}The tool asks for approval of calls like this one, or a screen does."


@contextmanager
def _keys() -> Iterator[ReadKey]:
    """Single keys from the terminal, unseen; what was typed before is thrown away, Ctrl-C interrupts."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    single = [*before]
    single[3] &= ~(termios.ECHO | termios.ICANON)
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler) if main else None

    def read(seconds: float) -> str:
        if not select.select([descriptor], [], [], seconds)[0]:
            return ""
        data = os.read(descriptor, 64)
        if not data:
            raise EOFError
        return data.decode("utf-8", "replace")

    try:
        # Nobody may have agreed by a key pressed before the question was seen.
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, single)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        if main:
            signal.signal(signal.SIGINT, handler)


def person_present(terminal: Terminal) -> bool:
    """Whether somebody sees what is written to the terminal and can press keys."""
    return terminal.stream.isatty() and sys.stdin is not None and sys.stdin.isatty()
