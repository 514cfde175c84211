"""One sandbox with one kernel, blocking, used by one thread; only ``kill`` may be called by any."""

import base64
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from .attest import check
from .errors import SandboxBroken
from .images import Image, decode_image
from .limits import SandboxLimits
from .process import Child
from .result import Execution, Status, sanitise, shorten_files
from .watchdog import Watchdog
from .wire import Closed, FrameReader, FrameWriter

OnOutput = Callable[[str, str], None]
_RESEND_S = 0.7
_SIGNALS = {
    4: "illegal instruction",
    6: "aborted",
    8: "arithmetic error",
    9: "killed",
    11: "segmentation fault",
}


class Cancel:
    """A request to stop a cell, which wakes the thread that waits for it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._lock = threading.Lock()
        self._open = True
        self.asked = False

    def ask(self) -> None:
        """Ask, from any thread; only the first time counts."""
        with self._lock:
            if self._open and not self.asked:
                self.asked = True
                os.write(self._write, b"x")

    def descriptor(self) -> int | None:
        """What to poll beside the answers; None once asked."""
        return None if self.asked else self._read

    def close(self) -> None:
        """Free the pipe; asking afterwards does nothing."""
        with self._lock:
            self._open = False
            os.close(self._read)
            os.close(self._write)


class Session:
    """A sandbox from its start to its end; ``start`` has to come first."""

    def __init__(self, child: Child, limits: SandboxLimits) -> None:
        self.limits = limits
        self.reason: str | None = None
        self._number = 0
        self._child = child
        self._reader = FrameReader(self._child.answers, limits.frame_bytes, limits.cell_bytes)
        self._writer = FrameWriter(self._child.commands)
        self._watchdog: Watchdog | None = None

    def start(self) -> None:
        """Wait until the kernel answers and its walls stand; raises SandboxBroken or SandboxUnavailable."""
        try:
            self._child.find_init(10.0)
            check(self._await_ready(), self._child)
        except BaseException:
            self.close()
            raise
        self._child.started()
        self._watchdog = Watchdog(self._child, self.limits, self.kill)

    @property
    def pid(self) -> int:
        """The host's number of the sandbox's outermost process."""
        return self._child.pid

    def alive(self) -> bool:
        """Whether the kernel can be used: not killed, not known to have died."""
        return self.reason is None and self._child.alive()

    def kill(self, reason: str) -> None:
        """End everything at once; the first reason is the one that is told."""
        self.reason = self.reason or reason
        self._child.kill()

    def close(self) -> None:
        """End everything and free what it held."""
        if self._watchdog is not None:
            self._watchdog.stop()
        self.reason = self.reason or "closed"
        self._child.close()

    def _await_ready(self) -> dict[str, Any]:
        deadline = time.monotonic() + self.limits.start_s
        try:
            frame = self._reader.read(deadline)
        except Closed as error:
            raise SandboxBroken(
                f"the sandbox did not start: {self._child.complaint() or 'it ended'}"
            ) from error
        if frame is None:
            raise SandboxBroken(f"the sandbox did not start within {self.limits.start_s:g} s")
        if frame.get("t") != "ready":
            raise SandboxBroken(f"the sandbox did not start: {sanitise(str(frame.get('d', frame)))[:300]}")
        return frame

    def execute(self, code: str, wall_s: float, on_output: OnOutput, cancel: Cancel) -> Execution:
        """Run one cell; never raises for what it does. ``on_output`` gets sanitised text as it comes."""
        started = time.monotonic()
        self._reader.reset()
        self._number += 1
        cell = _Cell(self._number, self.limits, on_output)
        if self._watchdog is not None:
            self._watchdog.cell_begins()
        try:
            self._writer.write(
                {"op": "exec", "id": cell.number, "code": code.encode("utf-8", "replace").decode()}
            )
            self._collect(cell, started + wall_s, cancel)
            if self.reason is not None:  # the watchdog's, say, who sees more than the signal that came of it
                cell.lost(self.reason)
        except SandboxBroken as error:
            memory = f"more than {self.limits.memory_mb} MiB of memory"
            self.kill(memory if self._child.out_of_memory() else str(error))
            cell.lost(self.reason)
        finally:
            if self._watchdog is not None:
                self._watchdog.cell_ends()
        return cell.finish(wall_s, time.monotonic() - started)

    def _collect(self, cell: "_Cell", deadline: float, cancel: Cancel) -> None:
        interrupted_at: float | None = None
        grace = 0.0
        while not cell.done:
            frame = self._reader.read(deadline, cancel.descriptor())
            if frame is not None:
                cell.take(frame)
                continue
            now = time.monotonic()
            if interrupted_at is None:
                interrupted_at = now
                cell.cancelled, cell.timed_out = cancel.asked, not cancel.asked
                grace = self.limits.cancel_grace_s if cancel.asked else self.limits.interrupt_grace_s
            elif now >= interrupted_at + grace:
                self.kill("it did not stop when interrupted")
                cell.lost(self.reason)
                return
            # More than once: the first may come before the cell has started.
            self._writer.write({"op": "interrupt"})
            deadline = min(now + _RESEND_S, interrupted_at + grace)

    def operate(self, command: dict[str, Any], seconds: float = 20.0) -> dict[str, Any]:
        """Do one file operation; raises OSError with the reason, SandboxBroken when there is no answer."""
        self._reader.reset()
        self._number += 1
        try:
            self._writer.write({**command, "id": self._number})
            deadline = time.monotonic() + seconds
            while (frame := self._reader.read(deadline)) is not None:
                if frame.get("t") == "done" and frame.get("id") == self._number:
                    if frame.get("status") != "ok":
                        raise OSError(sanitise(str(frame.get("reason")))[:300])
                    return frame
                if frame.get("t") in ("died", "fatal"):
                    raise Closed("the kernel ended")
            raise SandboxBroken("the sandbox did not answer")
        except SandboxBroken as error:
            self.kill(str(error))
            raise

    def put(self, name: str, data: bytes) -> None:
        """Write a file into the work directory; raises OSError for odd names."""
        self.operate({"op": "put", "path": name, "data": base64.b64encode(data).decode()})

    def get(self, path: str) -> bytes:
        """Read a file beneath the work directory; OSError for links, devices and more than the limit."""
        frame = self.operate({"op": "get", "path": path, "max": self.limits.download_mb * 2**20})
        try:
            return base64.b64decode(str(frame.get("data")), validate=True)
        except ValueError as error:
            raise OSError("the sandbox sent a broken file") from error

    def ls(self) -> list[tuple[str, int]]:
        """Names and sizes of the files in the work directory, at most a thousand."""
        listed = self.operate({"op": "ls"}).get("files")
        rows = listed if isinstance(listed, list) else []
        found = []
        for row in rows[:1000]:
            match row:
                case [str(name), int(size)] if name.isprintable() and sanitise(name) == name:
                    found.append((name, size))
        return found


class _Cell:
    """What has come of one cell so far, from frames that may be anything."""

    def __init__(self, number: int, limits: SandboxLimits, on_output: OnOutput) -> None:
        self.number = number
        self.done = False
        self.cancelled = self.timed_out = False
        self._limits = limits
        self._on_output = on_output
        self._parts: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._left = limits.output_chars
        self._images: list[Image] = []
        self._failed = self._lost = False
        self._reason = ""
        self._left_out = 0

    def take(self, frame: dict[str, Any]) -> None:
        kind = frame.get("t")
        if kind in ("died", "fatal"):
            self.lost(_cause_of_death(frame))
        elif frame.get("id") != self.number:
            return
        elif kind == "out":
            self._text("stderr" if frame.get("s") == "stderr" else "stdout", frame.get("d"))
        elif kind == "image":
            self._image(frame)
        elif kind == "done":
            self._finish_frame(frame)

    def _text(self, stream: str, text: object) -> None:
        if not isinstance(text, str):
            return
        kept = text[: max(0, self._left)]
        self._left -= len(kept)
        self._left_out += len(text) - len(kept)
        if kept:
            self._parts[stream].append(kept)
            shown = sanitise(kept)
            self._on_output(stream, shorten_files(shown) if stream == "stderr" else shown)

    def _image(self, frame: dict[str, Any]) -> None:
        image = decode_image(frame.get("m"), frame.get("d"), self._limits.image_pixels)
        if image is None:
            self._text("stderr", "[an image was left out: not a PNG or JPEG of a sensible size]\n")
        elif len(self._images) < self._limits.images:
            self._images.append(image)

    def _finish_frame(self, frame: dict[str, Any]) -> None:
        self.done = True
        self._failed = frame.get("status") != "ok"
        dropped, tails = frame.get("dropped"), frame.get("tail")
        for stream, parts in self._parts.items():
            count = dropped.get(stream) if isinstance(dropped, dict) else 0
            if isinstance(count, int) and count > 0:
                tail = tails.get(stream) if isinstance(tails, dict) else ""
                tail = tail[-65_536:] if isinstance(tail, str) else ""
                missing = max(0, count - len(tail))
                self._left_out += missing
                parts.append(f"\n[… {missing} characters lost …]\n{tail}" if missing else tail)

    def lost(self, reason: str | None) -> None:
        """The kernel is gone, and with it its state."""
        self.done = self._lost = True
        self._reason = reason or self._reason

    def finish(self, wall_s: float, seconds: float) -> Execution:
        stdout = sanitise("".join(self._parts["stdout"])).strip()
        stderr = shorten_files(sanitise("".join(self._parts["stderr"]))).strip()
        status: Status = "completed"
        fresh = "a fresh Python was started, and all variables, imports and files of its own are gone"
        note = ""
        if self.timed_out:
            status = "timeout"
            stdout, stderr = f"{stdout}\nTimed out".lstrip(), "Timed out"
            kept = f"; {fresh}" if self._lost else "; variables are kept"
            note = f"stopped after {wall_s:g} s{kept}"
        elif self._lost:
            status = "error"
            what = self._reason or "it ended without a word"
            stderr = f"{stderr}\nThe Python process is gone: {what}".lstrip()
            note = fresh
        elif self.cancelled:
            note = "stopped by the user; variables are kept"
        failed = self._failed or self._lost or self.timed_out
        return Execution(
            status, stdout, stderr, tuple(self._images), self._lost, failed, note, self._left_out, seconds
        )


def _cause_of_death(frame: dict[str, Any]) -> str:
    if frame.get("t") == "fatal":
        return sanitise(str(frame.get("d", "")))[:300]
    status = frame.get("status")
    if not isinstance(status, int) or not 0 <= status <= 0xFFFF:
        return ""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"signal {number} ({_SIGNALS.get(number, 'unknown')})"
    return f"exit code {os.waitstatus_to_exitcode(status)}" if os.WIFEXITED(status) else ""
