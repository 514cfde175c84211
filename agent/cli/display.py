"""Shows a run while it happens: the answer through a sink, everything else through a console."""

from functools import partial
from typing import TYPE_CHECKING, TextIO

from arriero.agent import events as ev
from arriero.agent.approval import edit_note
from arriero.prompts import ToolCall

from .pictures import Pictures, deliver
from .settings import ShowTools
from .sinks import Sink
from .status_line import StatusLine
from .terminal import Terminal, neutral
from .waiting import Ask, Waiting, nothing

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

_MEASURABLE = 64  # new tokens from which on the time that reading takes says how fast it is


class Display:
    """Turns events into what a person sees.

    The answer goes to ``sink``; calls, notices and the waiting line go to ``terminal``. With ``quiet`` only
    the answer is shown; ``tools`` says how much of calls is. ``calls`` keeps the finished calls of the run for
    showing them whole. ``pictures`` shows plots (default: none are). ``waiting`` says what is waited for.
    """

    def __init__(
        self,
        sink: Sink,
        terminal: Terminal,
        *,
        quiet: bool = False,
        tools: ShowTools = "full",
        hint: str = "",
        pictures: Pictures | None = None,
        ask: Ask = nothing,
        reading_speed: float = 0.0,
    ) -> None:
        self.finished: ev.RunFinished | None = None
        self.calls: list[tuple[ev.ToolCallStarted, ev.ToolCallFinished]] = []
        self.waiting = Waiting(terminal, reading_speed=reading_speed)
        self._sink = sink
        self._terminal = terminal
        self._quiet = quiet
        self._tools = tools
        self._hint = hint
        self._pictures = pictures or Pictures(terminal, {})
        self._status = StatusLine(terminal, quiet=quiet)
        self.watch(ask)
        self._console: Console | None = None
        self._running: dict[str, ev.ToolCallStarted] = {}
        self._edited: set[str] = set()
        self._latest = ""

    @property
    def console(self) -> "Console":
        """The console for everything but the answer."""
        if self._console is None:
            self._console = self._terminal.console()
        return self._console

    def watch(self, ask: Ask) -> None:
        """Have the model asked how far it is, where there is anybody to tell."""
        if self._status.on:
            self.waiting.ask = ask

    def handle(self, event: ev.Event | None) -> None:
        """Show one event; None means that time has passed."""
        match event:
            case None:
                self._tick()
            case ev.RunStarted():
                self.waiting.for_model()
            case ev.StepStarted():
                self.waiting.for_model(event)
            case ev.TextDelta(text=text):
                self._status.clear()
                self._sink.feed(text)
                self.waiting.for_nothing()
                self._status.preview(self._sink.pending)
            case ev.ToolCallDelta():
                self.waiting.for_call()
            case ev.ToolCallStarted():
                self._start_call(event)
            case ev.ToolCallEdited(call_id=call_id) if call_id in self._running:
                self._edited.add(call_id)
                self._running[call_id] = self._running[call_id].model_copy(
                    update={"arguments": event.arguments}
                )
            case ev.ToolOutputDelta(text=text):
                self._latest = neutral(text).rstrip().rpartition("\n")[2] or self._latest
            case ev.ToolCallFinished():
                self._finish_call(event)
            case ev.GuardrailChecked() if event.action != "allow" or event.failed:
                from .safety_commands import sentence

                self.notice(sentence(event), "yellow")
            case ev.ContextCompacted():
                self.notice(f"taken out of the context: {event.removed}", "yellow")
            case ev.ModelRetried(reason=reason):
                follows = "it writes it anew" if event.discarded_tokens else "it is told so"
                self.notice(f"what the model wrote cannot be used, and {follows}: {reason}")
            case ev.StepFinished(usage=usage):
                self._status.clear()
                self._measure(usage)
            case ev.RunFinished():
                self._end(event)
            case _:
                pass

    def notice(self, text: str, style: str = "dim") -> None:
        """One line for the user, beside the answer."""
        if self._quiet:
            return
        from rich.text import Text

        self._break()
        self.console.print(Text(neutral(text), style=style))

    def _break(self) -> None:
        self._status.clear()
        self._sink.finish()

    def _tick(self) -> None:
        if self._status.on and (line := self.waiting.line):
            self._status.show(line)

    def _start_call(self, event: ev.ToolCallStarted) -> None:
        from .panels import short_name

        self._running[event.call_id] = event
        self._break()
        self._latest = ""
        self.waiting.for_tool(short_name(event.name), lambda: self._latest)

    def _finish_call(self, event: ev.ToolCallFinished) -> None:
        from .panels import short_name

        self._status.clear()
        started = self._running.pop(event.call_id, None)
        if started is None:
            # A screen has stopped it before it began.
            self.notice(f"{short_name(event.name)} was not run; the model is told: {event.content}", "red")
            return
        self.calls.append((started, event))
        if not self._quiet:
            self._show_call(started, event)
        if event.artifacts:
            self._break()
            warn = partial(self.notice, style="yellow")
            deliver(event.run_id, event.artifacts, self._pictures, self.notice, warn)

    def _show_call(self, started: ev.ToolCallStarted, event: ev.ToolCallFinished) -> None:
        from .panels import Shown, print_call, print_line

        content, edited = event.content, event.call_id in self._edited
        if edited:  # the call is shown as it ran, which is all that the note says
            content = content.removeprefix(edit_note(ToolCall(name=event.name, arguments=started.arguments)))
        shown = Shown(event.name, started.arguments, content, event.ok, event.seconds, edited)
        if self._tools == "full":
            print_call(self.console, self._terminal, shown, hint=self._hint)
        elif self._tools == "line":
            print_line(self.console, self._terminal, shown)

    def _measure(self, usage: ev.Usage) -> None:
        took = usage.seconds - usage.decode_seconds
        if usage.prompt_tokens >= _MEASURABLE and took > 0:
            self.waiting.reading_speed = usage.prompt_tokens / took

    def _end(self, event: ev.RunFinished) -> None:
        self._break()
        self.finished = event


def json_line(event: "BaseModel") -> str:
    """An event as a line of JSON in ASCII, with the version of its form as ``v``."""
    import json

    return json.dumps({"v": ev.EVENT_FORMAT, **event.model_dump(mode="json")})


class JsonLines:
    """Writes every event as one line of JSON; the last one is always ``run_finished``."""

    def __init__(self, stream: TextIO) -> None:
        self.finished: ev.RunFinished | None = None
        self._stream = stream

    def handle(self, event: ev.Event | None) -> None:
        """Write one event; EventAdapter reads it back."""
        if event is None:
            return
        self._stream.write(f"{json_line(event)}\n")
        self._stream.flush()
        if isinstance(event, ev.RunFinished):
            self.finished = event

    def notice(self, text: str, style: str = "dim") -> None:
        """Notices are for people; machines read events."""

    def fail(self, message: str) -> None:
        """Write the ending of a run that could not start."""
        self.handle(
            ev.RunFinished(run_id="", seq=1, stop_reason="error", output="", error=message, usage=ev.Usage())
        )
