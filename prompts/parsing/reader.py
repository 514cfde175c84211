"""Text that arrives in pieces, read as if it were whole.

The methods are generators that yield whenever the input has run out, so that the grammar above them is written as
ordinary sequential code and decides the same thing however the text was cut. What has been read since the last
``mark`` is held in pieces and joined once: the cost is linear in the text.
"""

import re
from collections.abc import Callable, Generator
from enum import Enum
from typing import TypeVar

from .literals import MAX_DEPTH

T = TypeVar("T")
Wait = Generator[None, None, T]

_CLOSER = {"{": "}", "[": "]", "(": ")"}
_NAME = re.compile(r"[\w.\-]*+")
_JSON_SPECIAL = re.compile(r'["{}\[\]]')
_PYTHON_SPECIAL = re.compile(r"""["'(){}\[\]]""")
_BODY = {
    '"': re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL),
}


class Balance(Enum):
    """How a bracketed text ended."""

    CLOSED = "closed"
    OPEN = "it ends before it is complete"
    MISMATCH = "its brackets do not match"
    DEEP = "it is nested too deeply"


class Reader:
    """A cursor over text that grows at its end."""

    def __init__(self) -> None:
        self.buffer = ""
        self.pos = 0
        self.done = False
        self._start = 0
        self._parts: list[str] = []
        self._last = ""
        self.watch: Callable[[str], None] | None = None
        """Told each piece that is read while more is waited for; forgotten with the mark."""

    def push(self, text: str) -> None:
        """Append text that has arrived."""
        self.buffer += text

    def pass_over(self, text: str) -> None:
        """Read text that nothing has to look at, while nothing is held and nothing left."""
        self._last = text[-1]

    def close(self) -> None:
        """Say that no more text will come."""
        self.done = True

    def held(self) -> str:
        """All that was read since the last mark."""
        self._parts.append(self.buffer[self._start : self.pos])
        self._start = self.pos
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]

    def mark(self) -> None:
        """Forget what was read before the cursor."""
        self._parts.clear()
        self._start = self.pos
        self.watch = None

    def more(self) -> Wait[bool]:
        """Wait for text; False at the end of the input."""
        if self.done:
            return False
        if self.watch is not None:
            self.watch(self.buffer[self._start : self.pos])
        self._parts.append(self.buffer[self._start : self.pos])
        self._last = self.before()
        self.buffer = self.buffer[self.pos :]
        self.pos = self._start = 0
        size = len(self.buffer)
        while len(self.buffer) == size and not self.done:
            yield
        return len(self.buffer) > size

    def ahead(self, count: int = 1) -> Wait[str]:
        """The next ``count`` characters, fewer only at the end of the input; the cursor stays."""
        while len(self.buffer) - self.pos < count and (yield from self.more()):
            pass
        return self.buffer[self.pos : self.pos + count]

    def before(self) -> str:
        """The character before the cursor; empty at the start of the input."""
        return self.buffer[self.pos - 1] if self.pos else self._last

    def comes(self, text: str) -> Wait[bool]:
        """Whether this text comes next; waits no longer than the input agrees with it."""
        while True:
            ahead = self.buffer[self.pos : self.pos + len(text)]
            if ahead == text:
                return True
            if not text.startswith(ahead) or not (yield from self.more()):
                return False

    def word(self, may_grow: Callable[[str], bool]) -> Wait[str]:
        """The name that comes next, whole unless it grew beyond what may; the cursor stays."""
        while True:
            match = _NAME.match(self.buffer, self.pos)
            word = match.group() if match else ""
            if self.pos + len(word) < len(self.buffer):
                return word
            if not may_grow(word) or not (yield from self.more()):
                return word

    def skip(self, run: re.Pattern[str]) -> Wait[None]:
        """Step over a run of characters; ``run`` must match each prefix of whatever it matches."""
        while True:
            match = run.match(self.buffer, self.pos)
            if match is not None:
                self.pos = match.end()
            if self.pos < len(self.buffer) or not (yield from self.more()):
                return

    def rest(self) -> Wait[None]:
        """Step to the end of the input."""
        self.pos = len(self.buffer)
        while (yield from self.more()):
            self.pos = len(self.buffer)

    def balanced(self, stack: list[str], *, python: bool) -> Wait[Balance]:
        """Step behind the bracket that closes ``stack`` (closers that are due, outermost first).

        With ``python`` single and triple quotes make strings too and parentheses count.
        """
        special = _PYTHON_SPECIAL if python else _JSON_SPECIAL
        while True:
            match = special.search(self.buffer, self.pos)
            if match is None:
                self.pos = len(self.buffer)
                if not (yield from self.more()):
                    return Balance.OPEN
                continue
            self.pos, char = match.end(), match.group()
            if char in _CLOSER:
                if len(stack) >= MAX_DEPTH:
                    return Balance.DEEP
                stack.append(_CLOSER[char])
            elif char in "\"'":
                if not (yield from self._string(char, python=python)):
                    return Balance.OPEN
            elif char != stack.pop():
                return Balance.MISMATCH
            elif not stack:
                return Balance.CLOSED

    def _string(self, quote: str, *, python: bool) -> Wait[bool]:
        triple = False
        if python and self.buffer[self.pos : self.pos + 1] in ("", quote):
            ahead = yield from self.ahead(2)
            triple = ahead == quote * 2
            if triple:
                self.pos += 2
        body = _BODY[quote]
        while True:
            match = body.match(self.buffer, self.pos)
            self.pos = match.end() if match else self.pos
            if self.pos >= len(self.buffer) - 1 and self.buffer[self.pos : self.pos + 1] != quote:
                if not (yield from self.more()):
                    self.pos = len(self.buffer)
                    return False
                continue
            if not triple:
                self.pos += 1
                return True
            ahead = yield from self.ahead(3)
            if ahead == quote * 3:
                self.pos += 3
                return True
            self.pos += 1
