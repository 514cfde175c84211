"""Shows a run while it happens: the answer through a sink, everything else through a console."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TextIO

from arriero.agent import events as ev

from .pictures import Pictures, deliver
from .terminal import NeutralStream, Terminal, neutral

if TYPE_CHECKING:
    from rich.console import Console

_NOTABLE_PREFILL = 256  # new tokens from which on reading the prompt is worth a word
_MEASURABLE = 64  # new tokens from which on the time that reading takes says how fast it is
_PATIENCE = 0.3  # seconds before anything is said about waiting


class Sink(Protocol):
    """Where the answer goes."""

    def feed(self, text: str) -> None:
        """Take the next piece of the answer."""

    def finish(self) -> None:
        """Bring out everything and end the line; more may follow."""

    @property
    def pending(self) -> str:
        """Text that was taken and is not on the screen yet."""


class PlainSink:
    """Writes the answer as it comes, as plain text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._open = False
        self._safe = NeutralStream()

    def feed(self, text: str) -> None:
        self._write(self._safe.feed(text))

    def _write(self, safe: str) -> None:
        if safe:
            self._stream.write(safe)
            self._stream.flush()
            self._open = not safe.endswith("\n")

    def finish(self) -> None:
        self._write(self._safe.finish())
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

    @property
    def pending(self) -> str:
        return ""


def fit(text: str, cells: int) -> str:
    """The head of one line of text that takes at most ``cells`` columns; East Asian characters take two."""
    from rich.cells import cell_len

    text = text[:cells].replace("\t", " ")
    while cell_len(text) > cells:
        text = text[:-1]
    return text


class StatusLine:
    """One line that is written over again; nothing at all off a terminal."""

    def __init__(self, terminal: Terminal, *, quiet: bool = False) -> None:
        self._terminal = terminal
        self._on = terminal.interactive and not quiet
        self._shown = ""

    def show(self, text: str) -> None:
        """Replace the line; longer text is cut at the width."""
        if not self._on:
            return
        text = fit(text, self._terminal.width - 1)
        if text != self._shown:
            dim, end = ("\x1b[2m", "\x1b[0m") if self._terminal.colour else ("", "")
            self._terminal.stream.write(f"\r\x1b[2K{dim}{text}{end}")
            self._terminal.stream.flush()
            self._shown = text

    def preview(self, text: str) -> None:
        """Show the end of text that is being written."""
        last = neutral(text).rstrip().rpartition("\n")[2]
        if last:
            self.show(last[-(self._terminal.width - 1) :])

    def clear(self) -> None:
        """Take the line away."""
        if self._on and self._shown:
            self._terminal.stream.write("\r\x1b[2K")
            self._terminal.stream.flush()
            self._shown = ""


class Display:
    """Turns events into what a person sees.

    The answer goes to ``sink``; calls, notices and the waiting line go to ``terminal``. With ``quiet`` only
    the answer is shown. ``calls`` keeps the finished calls of the run for showing them whole. ``pictures`` shows
    plots (default: none are). ``reading_speed`` is in tokens a second, as far as it is known; it is measured anew.
    """

    def __init__(
        self,
        sink: Sink,
        terminal: Terminal,
        *,
        quiet: bool = False,
        hint: str = "",
        pictures: Pictures | None = None,
        reading_speed: float = 0.0,
    ) -> None:
        self.finished: ev.RunFinished | None = None
        self.reading_speed = reading_speed
        self.calls: list[tuple[ev.ToolCallStarted, ev.ToolCallFinished]] = []
        self._sink = sink
        self._terminal = terminal
        self._quiet = quiet
        self._hint = hint
        self._pictures = pictures or Pictures(terminal, {})
        self._status = StatusLine(terminal, quiet=quiet)
        self._console: Console | None = None
        self._running: dict[str, ev.ToolCallStarted] = {}
        self._doing: Callable[[float], str] = lambda waited: ""
        self._since = time.monotonic()
        self._pieces = 0
        self._latest = ""

    @property
    def console(self) -> "Console":
        """The console for everything but the answer."""
        if self._console is None:
            self._console = self._terminal.console()
        return self._console

    def handle(self, event: ev.Event | None) -> None:
        """Show one event; None means that time has passed."""
        match event:
            case None:
                self._tick()
            case ev.StepStarted():
                self._wait(_reading(event, self.reading_speed))
            case ev.TextDelta(text=text):
                self._status.clear()
                self._sink.feed(text)
                self._wait(lambda waited: "")
                self._status.preview(self._sink.pending)
            case ev.ToolCallDelta():
                self._pieces += 1
                pieces = self._pieces
                self._wait(lambda waited: f"writing a call, {pieces} tokens", restart=pieces == 1)
            case ev.ToolCallStarted():
                self._start_call(event)
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

    def _wait(self, doing: Callable[[float], str], *, restart: bool = True) -> None:
        self._doing = doing
        if restart:
            self._since = time.monotonic()

    def _tick(self) -> None:
        waited = time.monotonic() - self._since
        text = self._doing(waited) if waited >= _PATIENCE else ""
        if text:
            self._status.show(text)

    def _start_call(self, event: ev.ToolCallStarted) -> None:
        from .panels import short_name

        self._pieces = 0
        self._running[event.call_id] = event
        self._break()
        mark, name = self._terminal.symbol("●", "*"), short_name(event.name)
        self._latest = ""
        self._wait(lambda waited: f"{mark} {name}  {waited:.1f}s  {self._latest or '(Ctrl-C stops it)'}")

    def _finish_call(self, event: ev.ToolCallFinished) -> None:
        from .panels import print_call, short_name

        self._status.clear()
        started = self._running.pop(event.call_id, None)
        if started is None:
            # A screen has stopped it before it began.
            self.notice(f"{short_name(event.name)} was not run; the model is told: {event.content}", "red")
            return
        self.calls.append((started, event))
        if not self._quiet:
            print_call(
                self.console,
                self._terminal,
                event.name,
                started.arguments,
                event.content,
                ok=event.ok,
                seconds=event.seconds,
                hint=self._hint,
            )
        if event.artifacts:
            self._break()
            warn = partial(self.notice, style="yellow")
            deliver(event.run_id, event.artifacts, self._pictures, self.notice, warn)

    def _measure(self, usage: ev.Usage) -> None:
        took = usage.seconds - usage.decode_seconds
        if usage.prompt_tokens >= _MEASURABLE and took > 0:
            self.reading_speed = usage.prompt_tokens / took

    def _end(self, event: ev.RunFinished) -> None:
        self._break()
        self.finished = event


def _reading(event: ev.StepStarted, speed: float) -> Callable[[float], str]:
    """What to say while the model reads; ``speed`` is what it read in a second before, 0.0 where none is known."""
    new = event.new_tokens
    if new < _NOTABLE_PREFILL:
        return lambda waited: f"thinking  {waited:.1f}s"
    about = f" of about {new / speed:.0f}s" if speed else ""
    return lambda waited: f"reading {new:,} tokens  {waited:.1f}s{about}"


class JsonLines:
    """Writes every event as one line of JSON; the last one is always ``run_finished``."""

    def __init__(self, stream: TextIO) -> None:
        self.finished: ev.RunFinished | None = None
        self._stream = stream

    def handle(self, event: ev.Event | None) -> None:
        """Write one event; EventAdapter reads it back."""
        if event is None:
            return
        import json

        self._stream.write(json.dumps(event.model_dump(mode="json")) + "\n")
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
