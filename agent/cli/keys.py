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
_ENTER: Final = "\r\n"
_BACKSPACE: Final = "\x7f\x08"


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

    ``show`` writes to the screen; ``wanted`` says whether the line is still of use.
    """
    line = ""
    while wanted():
        keys = read_key(_TICK)
        if keys.startswith("\x1b"):
            if keys == "\x1b":
                return None
            continue  # an arrow or another key without a character
        for key in keys:
            if key in _ENTER:
                return line.strip()
            if key in _BACKSPACE:
                show("\b \b" if line else "")
                line = line[:-1]
            elif (safe := neutral(key)) and len(line) < _LONGEST:
                line += safe
                show(safe)
    return None
