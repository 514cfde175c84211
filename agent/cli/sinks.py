"""Where an answer goes while it is written."""

from typing import Protocol, TextIO

from .terminal import NeutralStream


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
