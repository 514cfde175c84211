"""What is typed while something runs: Escape stops it, and all other keys are for the next entry."""

import select
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from .runner import Pressed
from .terminal import Terminal

_ALONE: Final = 0.1
"""Seconds without a further byte after which Escape was a key of its own: Alt-Enter, an arrow and a paste begin with
it, too, and over a slow line their bytes may come apart."""

_PASTES_MARKED: Final = "\x1b[?2004h", "\x1b[?2004l"


class TypedAhead:
    """Reads ``keys``, the input of the line editor, while that does not.

    Pastes are marked as such by the terminal meanwhile, so that a pasted line end ends no entry, and a pasted Escape
    stops nothing.
    """

    def __init__(self, keys: Input, terminal: Terminal) -> None:
        self._input = keys
        self._terminal = terminal
        self._typed: list[KeyPress] = []
        self._latest = 0.0

    @contextmanager
    def watched(self) -> Iterator[Pressed]:
        """Watch the keys until this ends; what it gives says whether Escape was pressed."""
        self._mark_pastes(on=True)
        try:
            yield self._pressed
        finally:
            self._mark_pastes(on=False)
            self._take(self._input.read_keys())
            self._take(key for key in self._input.flush_keys() if key.key is not Keys.Escape)
            store_typeahead(self._input, self._typed)
            self._typed = []

    def _pressed(self) -> bool:
        now = time.monotonic()
        if not self._input.closed and select.select([self._input.fileno()], [], [], 0)[0]:
            self._latest = now
            self._take(self._input.read_keys())
        elif now - self._latest >= _ALONE:
            flushed = self._input.flush_keys()
            self._take(key for key in flushed if key.key is not Keys.Escape)
            return any(key.key is Keys.Escape for key in flushed)
        return False

    def _take(self, keys: Iterable[KeyPress]) -> None:
        self._typed += (key for key in keys if key.key is not Keys.CPRResponse)

    def _mark_pastes(self, *, on: bool) -> None:
        if self._terminal.interactive:
            self._terminal.stream.write(_PASTES_MARKED[0 if on else 1])
            self._terminal.stream.flush()
