"""Keys of the terminal outside the prompt: what is typed meanwhile, single keys, and a line of text."""

import codecs
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from .terminal import neutral

ReadKey = Callable[[float], str]
"""Waits so many seconds for keys; empty when none was pressed. Raises EOFError where none can come any more."""

_TICK: Final = 0.1
_LONGEST: Final = 2000  # characters of a typed line


@contextmanager
def keys_kept() -> Iterator[None]:
    """Keeps what is typed while no entry is read for the next one, unseen; Ctrl-C still interrupts.

    Otherwise the terminal would write these keys into the answer, and turn Enter into Ctrl-J.
    """
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        yield
        return
    quiet = [*before]
    quiet[0] &= ~termios.ICRNL
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def single_keys() -> Iterator[ReadKey]:
    """Single keys from the terminal, unseen; what was typed before is thrown away, Ctrl-C interrupts."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    single = [*before]
    single[3] &= ~(termios.ECHO | termios.ICANON)
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler) if main else None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(seconds: float) -> str:
        if not select.select([descriptor], [], [], seconds)[0]:
            return ""
        data = os.read(descriptor, 64)
        if not data:
            raise EOFError
        return decoder.decode(data)

    try:
        # Nobody may have agreed by a key pressed before the question was seen.
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, single)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        if main:
            signal.signal(signal.SIGINT, handler)


def typed_line(read_key: ReadKey, show: Callable[[str], None], wanted: Callable[[], bool]) -> str | None:
    """A line typed with single keys: Enter ends it, Backspace takes back, Escape gives up (None).

    A pasted line end does not end it. ``show`` writes to the screen; ``wanted`` says whether the line is still of
    use.
    """
    from prompt_toolkit.input.vt100_parser import Vt100Parser
    from prompt_toolkit.key_binding import KeyPress
    from prompt_toolkit.keys import Keys

    typed: list[KeyPress] = []
    parser, line = Vt100Parser(typed.append), _Line(show)
    while wanted():
        if text := read_key(_TICK):
            parser.feed(text)
            # With Escape begin keys that are not known here, too.
            del typed[next((at for at, key in enumerate(typed) if key.key is Keys.Escape), len(typed)) :]
        else:
            parser.flush()
        while typed:
            match typed.pop(0):
                case KeyPress(key=Keys.ControlM | Keys.ControlJ):
                    return line.text.strip()
                case KeyPress(key=Keys.Escape):
                    return None
                case KeyPress(key=Keys.ControlH | Keys.Backspace):
                    line.take_back()
                case KeyPress(key=Keys.BracketedPaste, data=data):
                    line.add(" ".join(data.split()))
                case KeyPress(key=str() as key) if not isinstance(key, Keys):
                    line.add(key)
    return None


class _Line:
    """What has been typed of a line, as it stands on the screen."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.text = ""
        self._show = show

    def add(self, text: str) -> None:
        safe = neutral(text)[: _LONGEST - len(self.text)]
        self.text += safe
        self._show(safe)

    def take_back(self) -> None:
        from rich.cells import cell_len

        self._show("\b \b" * cell_len(self.text[-1:]))
        self.text = self.text[:-1]
