"""Asks the person at the terminal about calls that need approval, and remembers what holds for later ones."""

import asyncio
import queue
import sys
import termios
import textwrap
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from arriero.agent.approval import Answer, Edited, Refused, shown_call
from arriero.tools import Tool

from .editing import EditText, edit_text, edited
from .keys import ReadKey, single_keys, typed_line
from .terminal import Terminal, neutral

_SCREEN: Final = "screen:"
"""How the name begins under which a screen asks about a text."""


@dataclass(frozen=True, slots=True)
class _Question:
    name: str
    arguments: dict[str, Any]
    answer: "Future[Answer]" = field(default_factory=Future)

    @property
    def by_screen(self) -> bool:
        return self.name.startswith(_SCREEN)

    @property
    def call(self) -> tuple[str, dict[str, Any]] | None:
        """The call that it is about; None where a screen asks about a text."""
        if not self.by_screen:
            return self.name, self.arguments
        name = self.arguments.get("tool")
        return (str(name), dict(self.arguments.get("arguments", {}))) if name else None

    @property
    def waits(self) -> bool:
        """Whether an answer is still of use."""
        return not self.answer.done()


class Approver:
    """Decides calls that need approval by asking a person, whose answer may hold for later calls too.

    Calls come from the thread that runs the agent; the person is asked by whoever calls ``attend``, so that keys
    and the screen have one user. Without ``terminal`` nobody is asked and the call stays undecided, which ends
    the run. ``find`` returns a tool by the name that the model uses; ``edit_text`` lets the person change a text.
    """

    def __init__(self) -> None:
        self.terminal: Terminal | None = None
        self.find: Callable[[str], Tool | None] = lambda name: None
        self.edit_text: EditText = edit_text
        self._tools: dict[str, bool] = {}
        self._calls: set[str] = set()
        self._questions: queue.SimpleQueue[_Question] = queue.SimpleQueue()

    async def __call__(self, name: str, arguments: dict[str, Any]) -> Answer:
        """What the person decides; None when nobody can be asked or the person leaves it open."""
        question = _Question(name, arguments)
        if (known := self._remembered(question)) is not None:
            return known
        if self.terminal is None:
            return None
        self._questions.put(question)
        # A run that ends meanwhile cancels the question with this.
        return await asyncio.wrap_future(question.answer)

    @property
    def remembered(self) -> list[str]:
        """What was answered for later calls too, a line each."""
        tools = [f"{name}: {'always' if allowed else 'never'}" for name, allowed in self._tools.items()]
        return tools + [f"{call}: always" for call in sorted(self._calls)]

    def forget(self) -> None:
        """Ask about every call again."""
        self._tools.clear()
        self._calls.clear()

    def attend(self, read_key: ReadKey | None = None) -> None:
        """Ask about the calls that wait, if any do; from the main thread."""
        while True:
            try:
                question = self._questions.get_nowait()
            except queue.Empty:
                return
            if not question.waits:
                continue
            decision = self._asked(question, read_key)
            try:
                question.answer.set_result(decision)
            except InvalidStateError:
                continue  # the run has ended in the meantime

    def decide(self, name: str, arguments: dict[str, Any]) -> Answer:
        """Ask about one call at once; from the main thread. Nothing that was remembered counts for it."""
        return self._asked(_Question(name, arguments), None) if self.terminal else None

    def _remembered(self, question: _Question) -> Answer:
        if question.by_screen:
            return None
        if shown_call(question.name, question.arguments) in self._calls:
            return True
        match self._tools.get(question.name):
            case False:
                return Refused(f"{question.name} is not to be called in this conversation")
            case allowed:
                return allowed

    def _asked(self, question: _Question, read_key: ReadKey | None) -> Answer:
        self._say(f"{_asking(question, whole=False)}\n{self._filled(_choices(question))}", fresh=True)
        try:
            if read_key is not None:
                return self._decided(question, read_key)
            with single_keys() as keys:
                return self._decided(question, keys)
        except (KeyboardInterrupt, EOFError, OSError, termios.error):
            self._say("not decided")
            return None

    def _decided(self, question: _Question, read_key: ReadKey) -> Answer:
        """What the person answers in a line; None when they leave it open with Escape, or nobody waits any more."""
        while question.waits:
            self._write(f"{self._mark} ")
            line = typed_line(read_key, self._write, lambda: question.waits)
            self._write("\n")
            if line is None:
                return None
            match line.lower():
                case "y" | "yes":
                    return True
                case "n" | "no":
                    return False
                case "e" | "edit" if question.call is not None:
                    if edit := self._edited(question, *question.call):
                        return edit
                    self._say(self._filled(_choices(question)))
                case "a" | "always" | "x" | "v" | "never" as word if not question.by_screen:
                    return self._remember(question, word[0])
                case "?":
                    self._say("\n".join((_asking(question, whole=True), self._more(question))))
                case word if word.startswith("/"):
                    self._say(
                        f"commands can be entered once this is answered\n{self._filled(_choices(question))}"
                    )
                case word if len(word) > 1 and question.call is not None:
                    return Refused(line)
                case _:
                    self._say(self._filled(_choices(question)))
        return None

    @property
    def _mark(self) -> str:
        assert self.terminal is not None
        return self.terminal.symbol("›", ">")

    def _remember(self, question: _Question, key: str) -> Answer:
        if key == "x":
            self._calls.add(shown_call(question.name, question.arguments))
            return True
        self._tools[question.name] = key == "a"
        return self._remembered(question)

    def _edited(self, question: _Question, name: str, arguments: dict[str, Any]) -> Edited | None:
        """The call as the person wants it; None when they leave it as it was."""
        assert self.terminal is not None
        changed = edited(
            name,
            arguments,
            self.find(name),
            edit=partial(self.edit_text, self.terminal),
            complain=self._say,
            wanted=lambda: question.waits,
        )
        return None if changed is None or changed == arguments else Edited(changed)

    def _more(self, question: _Question) -> str:
        """Why it is asked, and all that can be answered."""
        lines = [_choices(question), "Ctrl-C or Esc leaves it undecided"]
        if not question.by_screen:
            always = "x runs exactly this call from now on unasked, v refuses all calls of this tool"
            lines = [*_why(self.find(question.name)).splitlines(), lines[0], always, lines[1]]
        return "\n".join(map(self._filled, lines))

    def _filled(self, line: str) -> str:
        assert self.terminal is not None
        return textwrap.fill(line, self.terminal.width - 1, break_on_hyphens=False)

    def _say(self, text: str, *, fresh: bool = False) -> None:
        assert self.terminal is not None
        # The line that tells how long the call has been waiting.
        start = "\r\x1b[2K" if fresh and self.terminal.interactive else ""
        self._write(f"{start}{neutral(text)}\n")

    def _write(self, text: str) -> None:
        assert self.terminal is not None
        self.terminal.stream.write(text)
        self.terminal.stream.flush()


def person_present(terminal: Terminal) -> bool:
    """Whether somebody sees what is written to the terminal and can press keys."""
    return terminal.stream.isatty() and sys.stdin is not None and sys.stdin.isatty()


def _choices(question: _Question) -> str:
    if question.call is None:
        return "y lets it pass, n does not, ? shows all"
    if question.by_screen:
        return "y runs it, n refuses, e edits it, or type why not; ? says more"
    return "y runs it, n refuses, a runs all calls of this tool, e edits it, or type why not; ? says more"


def _asking(question: _Question, *, whole: bool) -> str:
    from .panels import cut, short_name, written_call

    if not question.by_screen:
        asked, text = f"may {short_name(question.name)} run?", written_call(question.name, question.arguments)
    else:
        found = {name: str(question.arguments.get(name, "")) for name in ("screen", "reason", "text")}
        name = str(question.arguments.get("tool", ""))
        what = f"{short_name(name)} run" if name else "it pass"
        asked, text = f"{found['screen']} objects: {found['reason']}. May {what} all the same?", found["text"]
    seen = neutral(text)
    # Nobody shall agree to what they cannot see.
    hidden = len(text.replace("\r\n", "\n")) - len(seen)
    shown = seen.strip("\n")
    shown, left = (shown, 0) if whole else cut(shown)
    notes = [
        *([f"+{left} lines, ? shows all"] if left else []),
        *([f"and {hidden} characters that cannot be seen"] if hidden else []),
    ]
    return "\n  ".join([asked, *(shown.split("\n") if shown else []), *notes])


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
    return f"{described}The tool asks for approval of calls like this one."
