"""A real pseudo-terminal with a screen, and a way to start the command in it."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pyte
import pytest

PATIENCE = 30.0  # seconds; generous, for machines that are busy


class Window:
    """A terminal window in which ``arriero`` runs; ``text`` is what a person sees, scrolled-off lines included."""

    def __init__(
        self, arguments: list[str], *, env: dict[str, str], rows: int = 30, columns: int = 90
    ) -> None:
        self.child: Any = pexpect.spawn(
            sys.executable,
            ["-m", "arriero", *arguments],
            env=env,
            dimensions=(rows, columns),
            timeout=PATIENCE,
        )
        self.child.delaybeforesend = None
        self.raw = b""
        self.screen: Any = pyte.HistoryScreen(columns, rows, history=5000)
        self.screen.write_process_input = self._reply
        self._stream = pyte.ByteStream(self.screen)

    def _reply(self, data: str) -> None:
        self.child.send(data)

    def read(self, seconds: float = 0.05) -> None:
        """Take in what arrives within the time."""
        try:
            data = self.child.read_nonblocking(65536, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return
        self.raw += data
        self._stream.feed(data)

    @property
    def text(self) -> str:
        rows = ["".join(row[x].data for x in sorted(row)) for row in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*rows, *self.screen.display])

    def wait_for(self, expected: str | Callable[[str], bool], seconds: float = PATIENCE) -> str:
        """The text once it holds ``expected``; fails with the screen otherwise."""
        holds = expected if callable(expected) else lambda text: expected in text
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read()
            if holds(self.text):
                return self.text
        pytest.fail(f"waited in vain for {expected!r}; on the screen:\n{self.text}")

    def prompt(self) -> str:
        """The text once an empty prompt stands above the toolbar."""
        return self.wait_for(_ready)

    def prompt_after(self, expected: str, seconds: float = PATIENCE) -> str:
        """The text once it holds ``expected`` and an empty prompt stands below it."""
        return self.wait_for(lambda text: expected in _unwrapped(text) and _ready(text), seconds)

    def enter(self, line: str) -> None:
        """Type a line and press Enter."""
        self.child.send(line + "\r")

    def wait_end(self) -> int:
        """The exit code, after the process has ended."""
        end = time.monotonic() + PATIENCE
        while self.child.isalive() and time.monotonic() < end:
            self.read()
        self.read()
        self.child.close()
        return self.child.exitstatus if self.child.exitstatus is not None else -int(self.child.signalstatus)


def _unwrapped(text: str) -> str:
    return text + "\n" + " ".join(text.split())


def _ready(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines) > 1 and "ctx " in lines[-1] and lines[-2].strip() in ("›", ">")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment without keys, with all files of the command under the test's folder."""
    hidden = ("BRAVE", "WOLFRAM", "ARRIERO", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, "TERM": "xterm-256color", "ARRIERO_HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8"}


@pytest.fixture
def window(environment: dict[str, str]) -> Iterator[Callable[..., Window]]:
    """Opens windows: ``window(*arguments, rows=…, columns=…, **environment)``."""
    opened: list[Window] = []

    def open_window(*arguments: str, rows: int = 30, columns: int = 90, **more: str) -> Window:
        one = Window(list(arguments), env={**environment, **more}, rows=rows, columns=columns)
        opened.append(one)
        return one

    yield open_window
    for one in opened:
        one.child.close(force=True)
