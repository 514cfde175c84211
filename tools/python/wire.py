"""Frames between the caller and the boot code: four bytes of length, big-endian, then a JSON object."""

import json
import os
import select
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import SandboxBroken

_CHUNK = 262_144


class Closed(SandboxBroken):
    """The other side closed its end: the sandbox has ended."""


class Stalled(SandboxBroken):
    """The other side does not take what it is sent."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One frame; text that is not valid Unicode has its lone surrogates replaced."""
    body = json.dumps(message).encode("ascii")
    return struct.pack(">I", len(body)) + body


def ready_within(seconds: float, reading: Iterable[int] = (), writing: Iterable[int] = ()) -> set[int]:
    """The descriptors that can be read from or written to now, or the first within ``seconds``.

    By poll: select cannot name descriptors from 1024 on, which a busy caller may have.
    """
    poll = select.poll()
    for descriptor in reading:
        poll.register(descriptor, select.POLLIN)
    for descriptor in writing:
        poll.register(descriptor, select.POLLOUT)
    return {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}


class FrameReader:
    """Reads frames from a descriptor that nothing good may be assumed of.

    ``frame_bytes`` bounds one frame; ``budget`` bounds all bytes since the last ``reset``.
    """

    def __init__(self, descriptor: int, frame_bytes: int, budget: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._frame_bytes = frame_bytes
        self._budget = budget
        self._taken = 0
        self._buffer = bytearray()

    def reset(self) -> None:
        """Start counting against the budget anew."""
        self._taken = 0

    def read(self, deadline: float, wake: int | None = None) -> dict[str, Any] | None:
        """The next frame; None at the deadline (``time.monotonic``) or when ``wake`` becomes readable.

        Raises Closed at the end, SandboxBroken for a frame or a total too large and for what is no JSON
        object.
        """
        while True:
            if (frame := self._next()) is not None:
                return frame
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            watched = [self._descriptor] if wake is None else [self._descriptor, wake]
            ready = ready_within(left, reading=watched)
            if self._descriptor in ready:
                self._fill()
            elif ready:
                return None

    def _fill(self) -> None:
        try:
            part = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        if not part:
            raise Closed("the sandbox ended")
        self._buffer += part
        self._taken += len(part)
        if self._taken > self._budget:
            raise SandboxBroken("the sandbox sent more than one call may")

    def _next(self) -> dict[str, Any] | None:
        if len(self._buffer) < 4:
            return None
        (length,) = struct.unpack_from(">I", self._buffer)
        if length > self._frame_bytes:
            raise SandboxBroken("the sandbox sent a frame that is too large")
        if len(self._buffer) < 4 + length:
            return None
        body = bytes(self._buffer[4 : 4 + length])
        del self._buffer[: 4 + length]
        try:
            frame = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise SandboxBroken("the sandbox sent a frame that is not JSON") from error
        if not isinstance(frame, dict):
            raise SandboxBroken("the sandbox sent a frame that is not an object")
        return frame


class FrameWriter:
    """Writes frames; any thread may, and none is ever blocked for longer than ``patience`` seconds."""

    def __init__(self, descriptor: int, patience: float = 20.0) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._patience = patience
        self._lock = threading.Lock()

    def write(self, message: Mapping[str, Any]) -> None:
        """Send one frame; raises Stalled or Closed."""
        view = memoryview(encode(message))
        deadline = time.monotonic() + self._patience
        with self._lock:
            while view:
                left = deadline - time.monotonic()
                if left <= 0 or not ready_within(left, writing=[self._descriptor]):
                    raise Stalled("the sandbox takes no more commands")
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise Closed("the sandbox ended") from error
