"""What a person is told while nothing else is to be seen: what goes on, for how long, and how far it is."""

import time
from collections.abc import Callable
from typing import Final

from arriero.agent.backends import Progress
from arriero.agent.events import StepStarted

from .terminal import Terminal

Ask = Callable[[], Progress | None]
"""How far the model is; None where that is not known."""

_NOTABLE_PREFILL: Final = 256  # new tokens from which on reading the prompt is worth a word
_PATIENCE: Final = 0.3  # seconds before anything is said about waiting
_MEASURED: Final = 0.5  # seconds of writing that say how fast it goes


def nothing() -> Progress | None:
    """Of a model that does not tell."""
    return None


class Waiting:
    """Knows what is waited for, and says it in a line.

    ``ask`` is put to the model when the line is wanted. ``reading_speed`` is in tokens a second, as far as it is
    known: it is used for models that do not tell how far they are. For the first ``patience`` seconds nothing is
    said.
    """

    def __init__(self, terminal: Terminal, ask: Ask = nothing, reading_speed: float = 0.0) -> None:
        self.ask = ask
        self.reading_speed = reading_speed
        self.patience = _PATIENCE
        self._dot, self._mark = terminal.symbol("·", "-"), terminal.symbol("●", "*")
        self._since = time.monotonic()
        self._doing: Callable[[float], str] = _nothing_to_say
        self._new = 0
        self._pieces = 0
        self._first: tuple[float, int] | None = None

    def for_model(self, step: StepStarted | None = None) -> None:
        """The model reads, then thinks; before its first step it may read ahead."""
        self._new = step.new_tokens if step else 0
        self._first, self._pieces = None, 0
        self.ask()  # so that the model knows in time that somebody watches
        self._begin(self._thinking)

    def for_call(self) -> None:
        """The model writes a call; this is told of each piece."""
        self._pieces += 1
        if self._pieces == 1:
            self._begin(self._writing)

    def for_tool(self, name: str, said: Callable[[], str]) -> None:
        """A tool runs; ``said`` gives what it has said last."""
        self._pieces = 0
        self._begin(lambda waited: f"{self._mark} {name}  {waited:.1f}s  {said() or '(Ctrl-C stops it)'}")

    def for_nothing(self) -> None:
        """Something is to be seen."""
        self._begin(_nothing_to_say)

    @property
    def line(self) -> str:
        """What there is to say by now; nothing at first, and where nothing is waited for."""
        waited = time.monotonic() - self._since
        return self._doing(waited) if waited >= self.patience else ""

    def _begin(self, doing: Callable[[float], str]) -> None:
        self._doing, self._since = doing, time.monotonic()

    def _thinking(self, waited: float) -> str:
        told = self.ask()
        if told is not None and told.read < told.prompt:
            return f"reading prompt {told.read}/{told.prompt} tok  {waited:.1f}s"
        if told is None and self._new >= _NOTABLE_PREFILL:
            about = f" of about {self._new / self.reading_speed:.0f}s" if self.reading_speed else ""
            return f"reading {self._new:,} tokens  {waited:.1f}s{about}"
        return f"thinking {waited:.1f}s{self._rate(told)}"

    def _writing(self, waited: float) -> str:
        return f"writing a call {waited:.1f}s{self._rate(self.ask())}"

    def _rate(self, told: Progress | None) -> str:
        """Tokens a second since the first ones of this message were seen."""
        if told is None or not told.written:
            return ""
        now = time.monotonic()
        if self._first is None:
            self._first = now, told.written
        began, written = self._first
        if now - began < _MEASURED or told.written <= written:
            return ""
        return f" {self._dot} {(told.written - written) / (now - began):.0f} tok/s"


def _nothing_to_say(waited: float) -> str:
    return ""
