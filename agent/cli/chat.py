"""A conversation on a terminal: what happens with each line that the user enters."""

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arriero.agent import events as ev
from arriero.agent.approval import Decided
from arriero.prompts import ArrieroError
from arriero.tools import ToolContext, ToolResult

from .attachments import mistaken_in, named_in
from .display import Display
from .errors import FAULTS
from .loading import Loading
from .markdown_stream import MarkdownStream, renderer
from .panels import Shown, print_call, result_text
from .pictures import Pictures, deliver
from .quotes import is_quoted, unquoted
from .session import Session
from .sinks import PlainSink, Sink
from .slash import known, unknown
from .slash_command import Leave
from .status_line import StatusLine
from .terminal import Terminal, neutral
from .waiting import Waiting

if TYPE_CHECKING:
    from rich.console import Console

_HINTS: Final = {
    "max_tokens": "/params max_tokens=N lets it write more; /compact and /clear make room",
    "max_steps": "/continue goes on; /params max_steps=N lets it take more steps",
    "approval": "/continue asks again",
}
_CROWDED = 0.8  # share of the context from which on the user is warned


class Chat:
    """Answers lines: questions to the model, ``/commands``, and ``!code`` for the Python of the conversation.

    ``last_call`` is the latest finished call; ``last_question`` what ``/retry`` asks again; ``speed`` is in
    sampled tokens a second, 0.0 before the first answer; ``attached`` are files for the next question,
    ``usage`` the sum over all questions, ``verdicts`` what screens said of the conversation.
    """

    def __init__(self, session: Session, terminal: Terminal) -> None:
        self.session: Session = session
        self.terminal = terminal
        self.console: Console = terminal.console()
        self.pictures = Pictures(terminal)
        self.last_call: tuple[ev.ToolCallStarted, ev.ToolCallFinished] | None = None
        self.last_question: str | None = None
        self.attached: list[Path] = []
        self.speed = 0.0
        self._reading_speed = 0.0
        self.usage = ev.Usage()
        self.verdicts: list[ev.GuardrailChecked] = []

    def take(self, line: str) -> bool:
        """Deal with one entry; False when the user wants to leave."""
        text = line.strip()
        try:
            if is_quoted(text):
                self.ask(unquoted(text))
            elif text.startswith("//"):
                self.ask(text[1:])
            elif text.startswith("/"):
                self._command(text[1:])
            elif text.startswith("!"):
                self.run_code(text[1:].strip())
            elif text:
                self.ask(text)
        except Leave:
            return False
        except KeyboardInterrupt:
            self.say("interrupted")
        except (ArrieroError, OSError) as error:
            self.complain(str(error))
        return True

    def say(self, text: str, style: str = "dim") -> None:
        """Print lines that are neither question nor answer."""
        from rich.text import Text

        self.console.width = self.terminal.width
        self.console.print(Text(neutral(text), style=style), soft_wrap=False)

    def complain(self, text: str) -> None:
        """Print what went wrong."""
        self.say(f"error: {text.removeprefix('Error: ')}", "red")

    def ask(self, question: str) -> None:
        """Put a question to the model with the files that it names."""
        self.last_question = question
        paths = list(dict.fromkeys([*self.attached, *named_in(question)]))
        for word in mistaken_in(question):
            self.say(f"there is no file {word}; @{word} is asked as it stands", "yellow")
        whole, lines = self.session.with_files(question, paths)
        self.attached.clear()
        for line, much in lines:
            self.say(line, "yellow" if much else "dim")
        self.put(whole)

    def put(self, whole: str | None, decisions: Mapping[str, Decided] | None = None) -> None:
        """Put a question to the model as it stands, or None to go on; show what happens until it has ended."""
        display = self.display()
        with closing(self.session.ask(whole, decisions)) as events:
            for event in events:
                display.handle(event)
                if isinstance(event, ev.GuardrailChecked):
                    self.verdicts.append(event)
        self._reading_speed = display.waiting.reading_speed
        if display.calls:
            self.last_call = display.calls[-1]
        if display.finished:
            self._conclude(display.finished)
        self.say("")

    def display(self) -> Display:
        """What shows the events of a run here."""
        return Display(
            self._sink(),
            self.terminal,
            tools=self.session.settings.show_tools,
            hint=", /last shows all",
            pictures=self.pictures,
            ask=self.session.progress,
            reading_speed=self._reading_speed,
        )

    def take_back(self) -> str | None:
        """Take back the last question and its answer; the question, or None where there is none."""
        asked = [m.content for m in self.session.conversation.messages if m.role == "user"]
        return asked[-1] if self.session.undo() and asked else None

    def forget(self) -> None:
        """Begin to count and remember anew, because the conversation is another one."""
        self.last_call, self.last_question = None, None
        self.verdicts.clear()

    def show_where_it_stands(self) -> None:
        """Print the last question and its answer, for a conversation that goes on."""
        said = [
            m for m in self.session.conversation.messages if m.role in ("user", "assistant") and m.content
        ]
        asked = next((m.content for m in reversed(said) if m.role == "user"), "")
        if asked:
            first, _, more = asked.strip().partition("\n")
            self.say(f"{self.terminal.symbol('›', '>')} {first}{' …' if more else ''}")
        if said and said[-1].role == "assistant":
            sink = self._sink()
            sink.feed(said[-1].content)
            sink.finish()
        if self.session.conversation.unfinished:
            self.say("this was not finished: /continue goes on with it", "yellow")

    def run_code(self, code: str) -> None:
        """Run Python in the kernel that the model uses; the conversation does not hear of it."""
        python = self.session.python
        if python is None:
            self.complain("the Python tool is off, see /tools")
            return
        if not code:
            self.complain("write code after the !, like: !print(6 * 7)")
            return
        status, waiting, latest = StatusLine(self.terminal), Waiting(self.terminal), [""]

        def hear(stream: str, text: str) -> None:
            latest[0] = neutral(text).rstrip().rpartition("\n")[2] or latest[0]

        waiting.for_tool("python", lambda: latest[0])
        conversation_id = self.session.conversation.id
        context: ToolContext = ToolContext(call_id="user", conversation_id=conversation_id, on_output=hear)
        try:
            work = python.run({"code": code}, context)
            result = self.session.runner.attend(work, lambda: status.show(waiting.line))
        except ArrieroError as error:
            self.complain(str(error))
            return
        finally:
            status.clear()
        self._show_result(python.name, result)

    def show_last_call(self) -> None:
        """Print the latest call with the whole of its result."""
        if self.last_call is None:
            self.say("no tool was called yet")
            return
        started, finished = self.last_call
        shown = Shown(finished.name, started.arguments, finished.content, finished.ok, finished.seconds)
        print_call(self.console, self.terminal, shown, whole=True)

    def load_model(self, name: str) -> None:
        """Change the model, with progress; the one before stays when this fails."""
        status, loading = StatusLine(self.terminal), Loading(name)
        try:
            self.session.change_model(name, loading.tell, lambda: status.show(loading.line))
        finally:
            status.clear()

    @property
    def context(self) -> tuple[int, int]:
        """Tokens that the conversation has, and may have."""
        return len(self.session.conversation.tokens), self.session.model.context_length

    def status(self) -> str:
        """One line for the bottom of the screen: model, context, speed, tools, screens, as far as they fit."""
        used, total = self.context
        dot = f" {self.terminal.symbol('·', '|')} "
        parts = [neutral(self.session.model.name), f"ctx {used}/{total} ({used / total:.0%})"]
        if self.speed:
            parts.append(f"{self.speed:.0f} tok/s")
        parts += [f"tools {len(self.session.offered)}", f"safety {neutral(self.session.guards.policy.name)}"]
        while len(parts) > 1 and len(dot.join(parts)) >= self.terminal.width:
            parts.pop(-1 if len(parts) > 2 else 0)  # how full the context is stays longest
        return dot.join(parts)

    def _command(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        command = known(name)
        if command is None:
            self.complain(f"{unknown(name)} (a question that begins with / needs //)")
            return
        command.run(self, rest.strip())

    def _sink(self) -> Sink:
        stream = self.terminal.stream
        if not self.terminal.rich_text or self.session.settings.plain:
            return PlainSink(stream)

        def write(text: str) -> None:
            stream.write("\r\x1b[2K" + text)
            stream.flush()

        return MarkdownStream(renderer(self.console, self.terminal), write)

    def _conclude(self, finished: ev.RunFinished) -> None:
        usage = finished.usage
        self.usage = _sum(self.usage, usage)
        if usage.decode_seconds > 0:
            self.speed = usage.output_tokens / usage.decode_seconds
        used, total = self.context
        crowded = used >= _CROWDED * total
        if finished.stop_reason == "cancelled":
            self.say("interrupted; what was written stays in the conversation")
        elif finished.stop_reason != "final":
            self.complain(finished.error or f"stopped: {finished.stop_reason.replace('_', ' ')}")
            hint = _HINTS.get(finished.stop_reason)
            # Without a token written it is the context that is too small, which the error says.
            full = finished.stop_reason == "max_tokens" and (crowded or not usage.output_tokens)
            if hint and not full:
                self.say(hint, "yellow")
            if finished.stop_reason == "error" and FAULTS.path is not None:
                self.say(f"log: {FAULTS.path}")
        if crowded:
            self.say(
                f"the context is {used / total:.0%} full: /compact makes room, /clear begins anew, /undo goes back",
                "yellow",
            )

    def _show_result(self, name: str, result: ToolResult) -> None:
        text = result_text(name, result.content)
        if text:
            self.say(text, "red" if result.error else "")
        made = (ev.ArtifactRef(name=a.name, mime=a.mime, data=a.data) for a in result.artifacts)
        run = time.strftime("user-%Y%m%d-%H%M%S")
        deliver(run, made, self.pictures, self.say, self.complain)


def _sum(one: ev.Usage, other: ev.Usage) -> ev.Usage:
    return ev.Usage(**{name: getattr(one, name) + getattr(other, name) for name in ev.Usage.model_fields})
