"""Driving the kernel through jupyter_client, message by message, trusting none of them (runs inside)."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import zmq
from jupyter_client import BlockingKernelClient

_BATCH = 500
_MOST_MALFORMED = 1000
_CHUNK = 65_536
_SILENCE_S = 5.0
_IMAGES = ("image/png", "image/jpeg")

Send = Callable[[dict[str, Any]], None]


class ChannelBroken(Exception):
    """The kernel's channels no longer make sense; only a new sandbox helps."""


class Channels:
    """The client side of one kernel's sockets; what is malformed or wrongly signed is dropped and counted."""

    def __init__(self, connection: Mapping[str, Any]) -> None:
        context = zmq.Context()
        # A kernel that hangs up could have put a link to another socket where its own was.
        context.setsockopt(zmq.RECONNECT_IVL, -1)
        self._client = BlockingKernelClient(context=context)
        self._client.load_connection_info(dict(connection))
        self._client.start_channels(stdin=False, hb=False, control=False)
        self.shell = self._client.shell_channel.socket
        self.iopub = self._client.iopub_channel.socket
        self.malformed = 0

    def take(self, socket: Any) -> dict[str, Any] | None:
        """The next valid message of a socket, or None when there is none now."""
        while True:
            try:
                parts = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            try:
                _, parts = self._client.session.feed_identities(parts)
                message = self._client.session.deserialize(parts, content=True)
                if isinstance(message["content"], dict) and isinstance(message["parent_header"], dict):
                    return dict(message)
            except Exception:
                self.malformed += 1
            else:
                self.malformed += 1
            if self.malformed > _MOST_MALFORMED:
                raise ChannelBroken("too many malformed messages")

    def wait_ready(self, seconds: float) -> None:
        """Return once shell answers and iopub is subscribed.

        ``wait_for_ready`` of jupyter_client always waits 200 ms longer; ipykernel from 7 on greets a
        subscriber.
        """
        end = time.monotonic() + seconds
        again = 0.0
        shell = iopub = False
        while not (shell and iopub):
            now = time.monotonic()
            if now > end:
                raise ChannelBroken("the kernel did not answer in time")
            if now > again:
                self._client.kernel_info()
                again = now + 0.25
            if self.shell.poll(10) and self.take(self.shell):
                shell = True
            while self.take(self.iopub):
                iopub = True

    def speaks(self, seconds: float) -> bool:
        """Whether anything comes from iopub when something is asked on shell; what comes is dropped."""
        self._client.kernel_info()
        heard = False
        if self.iopub.poll(seconds * 1000):
            while self.take(self.iopub):
                heard = True
        return heard

    def execute(self, code: str) -> str:
        """Ask for one cell; returns the id that its messages carry."""
        return str(self._client.execute(code, store_history=True, allow_stdin=False, stop_on_error=True))


class Cell:
    """One running cell: collects what the kernel says about it and passes it on within limits."""

    def __init__(self, channels: Channels, job: int, limits: Mapping[str, int], send: Send) -> None:
        self._channels = channels
        self._job = job
        self._send = send
        self._left = limits["output_chars"]
        self._images_left = limits["images"]
        self._image_chars = limits["image_bytes"] * 4 // 3 + 4
        self._pending: list[tuple[str, str]] = []
        self._pending_chars = 0
        self._flushed = time.monotonic()
        self._dropped = {"stdout": 0, "stderr": 0}
        self._tail = {"stdout": deque[str](maxlen=64), "stderr": deque[str](maxlen=64)}
        self._fresh_line = True
        self._status: str | None = None
        self._replied = 0.0
        self._idle = False
        self._heard = False

    def run(self, code: str) -> None:
        """Execute ``code`` and send its output, images and a closing ``done``; raises ChannelBroken."""
        message_id = self._channels.execute(code)
        poller = zmq.Poller()
        poller.register(self._channels.iopub, zmq.POLLIN)
        poller.register(self._channels.shell, zmq.POLLIN)
        while not (self._idle and self._status):
            ready = dict(poller.poll(50))
            if self._status and not self._idle and self._channels.iopub not in ready and self._gave_up():
                break
            if self._channels.iopub in ready:
                self._drain(message_id)
            if self._channels.shell in ready:
                reply = self._channels.take(self._channels.shell)
                if reply and reply["parent_header"].get("msg_id") == message_id:
                    self._status, self._replied = str(reply["content"].get("status")), time.monotonic()
            if self._pending_chars > _CHUNK or time.monotonic() - self._flushed > 0.05:
                self._flush()
        self._flush()
        tails = {name: "".join(kept)[-_CHUNK:] for name, kept in self._tail.items()}
        self._send(
            {"t": "done", "id": self._job, "status": self._status, "dropped": self._dropped, "tail": tails}
        )

    def _gave_up(self) -> bool:
        # PUB drops messages above its high-water mark, the closing "idle" among them.
        if time.monotonic() - self._replied < 1.0:
            return False
        if not self._heard:
            raise ChannelBroken("not one message came for this cell")
        # Nor may the next cell have to find out that nothing is said any more.
        if not self._channels.speaks(_SILENCE_S):
            raise ChannelBroken("the kernel has fallen silent")
        return True

    def _drain(self, message_id: str) -> None:
        for _ in range(_BATCH):
            message = self._channels.take(self._channels.iopub)
            if message is None:
                return
            if message["parent_header"].get("msg_id") == message_id:
                self._heard = True
                self._handle(str(message["msg_type"]), message["content"])

    def _handle(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "status":
            self._idle = self._idle or content.get("execution_state") == "idle"
        elif kind == "stream":
            self._text(
                "stderr" if content.get("name") == "stderr" else "stdout", str(content.get("text", ""))
            )
        elif kind in ("execute_result", "display_data"):
            data = content.get("data")
            if isinstance(data, dict) and not self._image(data):
                self._line("stdout", str(data.get("text/plain", "")))
        elif kind == "error":
            lines = content.get("traceback")
            self._line("stderr", "\n".join(map(str, lines if isinstance(lines, list) else [])))

    def _image(self, data: dict[str, Any]) -> bool:
        for mime in _IMAGES:
            encoded = data.get(mime)
            if isinstance(encoded, str):
                if self._images_left > 0 and len(encoded) <= self._image_chars:
                    self._images_left -= 1
                    self._flush()
                    self._send({"t": "image", "id": self._job, "m": mime, "d": encoded})
                else:
                    self._line("stderr", "[an image was left out: too many or too large]")
                return True
        return False

    def _line(self, stream: str, text: str) -> None:
        if text:
            self._text(stream, ("" if self._fresh_line or stream == "stderr" else "\n") + text + "\n")

    def _text(self, stream: str, text: str) -> None:
        if stream == "stdout" and text:
            self._fresh_line = text.endswith("\n")
        kept = text[: self._left]
        self._left -= len(kept)
        if kept:
            self._pending.append((stream, kept))
            self._pending_chars += len(kept)
        if len(kept) < len(text):
            rest = text[len(kept) :]
            self._dropped[stream] += len(rest)
            self._tail[stream].append(rest[-8192:])

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        if not self._pending:
            return
        run: list[str] = []
        current = self._pending[0][0]
        for stream, text in [*self._pending, ("", "")]:
            if stream != current:
                self._send({"t": "out", "id": self._job, "s": current, "d": "".join(run)})
                current, run = stream, []
            run.append(text)
        self._pending.clear()
        self._pending_chars = 0
