"""The first code that runs inside: builds the walls, forks the kernel, and serves the caller's frames.

It comes as data through standard input, never as a file of the host, and uses nothing of arriero's.
"""

import base64
import contextlib
import fcntl
import json
import os
import queue
import secrets
import signal
import struct
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from . import inside_files, inside_walls

NICE = 5
_MOST_IN_A_FRAME = 64 * 2**20
_CLEARING_S = 5.0


def main(config: dict[str, Any]) -> None:
    """Run until the caller goes away or the kernel ends; never returns."""
    commands = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 60)
    answers = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 60)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)
    try:
        # Made here and not by the caller: whenever that is killed, this process still knows what to remove.
        own = [commands, answers, *_make_scratch(config)]
        _raise_outer_walls(config)
        outer = inside_walls.report_outer(config["must_not_exist"])
        gateway = Gateway(config, commands, answers, own)
        gateway.start(outer, null)
    except BaseException as error:
        with contextlib.suppress(OSError):
            _write(answers, {"t": "fatal", "d": f"{type(error).__name__}: {error}"[:2000]})
        _remove_scratch(config)
        os._exit(71)


def _make_scratch(config: Mapping[str, Any]) -> list[int]:
    if not config["scratch"]:
        return []
    os.mkdir(config["scratch"], 0o700)
    # Locked until this process ends, so that nobody takes the directory for an abandoned one.
    lock = os.open(config["scratch"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    for path in config["directories"]:
        os.mkdir(path, 0o700)
    os.chdir(config["work"])
    return [lock]


def _remove_scratch(config: Mapping[str, Any]) -> None:
    # Again and again for a while: what is just being killed may still write a last file.
    end = time.monotonic() + _CLEARING_S
    while config["scratch"] and os.path.lexists(config["scratch"]) and time.monotonic() < end:
        with contextlib.suppress(OSError):
            inside_files.remove_tree(config["scratch"])


def _kill_orphans() -> None:
    # Whatever left the kernel's group has become this process's child when its parent ended.
    for _ in range(100):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        orphans: list[str] = []
        with contextlib.suppress(OSError):
            for task in os.listdir("/proc/self/task"):
                with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                    orphans += file.read().split()
        if not orphans:
            return
        for pid in orphans:
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.01)


def _raise_outer_walls(config: Mapping[str, Any]) -> None:
    inside_walls.set_limits(config["rlimits"])
    if not config["walls"]:
        inside_walls.adopt_orphans()
        return
    if config["uid"] is not None:
        inside_walls.drop_to(config["uid"])
    elif os.getuid() == 0:
        inside_walls.drop_bounding_set()
    inside_walls.drop_capabilities()
    if config["namespaces"] and os.getpid() != 1:
        inside_walls.die_with(os.getppid())  # the change of uid cleared what the launcher had set
    inside_walls.adopt_orphans()
    inside_walls.load_filter(base64.b64decode(config["gateway_filter"]))


def _write(descriptor: int, message: Mapping[str, Any]) -> None:
    body = json.dumps(message).encode("utf-8", "backslashreplace")
    view = memoryview(struct.pack(">I", len(body)) + body)
    while view:
        view = view[os.write(descriptor, view) :]


class Gateway:
    """Speaks frames with the caller on one side and Jupyter messages with the kernel on the other."""

    def __init__(self, config: dict[str, Any], commands: int, answers: int, own: list[int]) -> None:
        self._config = config
        self._own = own
        self._commands = commands
        self._answers = answers
        self._writing = threading.Lock()
        self._ending = threading.Lock()
        self._jobs: queue.Queue[dict[str, Any]] = queue.Queue()
        self._running: int | None = None
        self._kernel = 0
        self._reported = threading.Event()

    def start(self, outer: dict[str, Any], null: int) -> None:
        """Fork the kernel, answer with the report on the walls, and serve."""
        os.makedirs(self._config["sockets"], 0o700, exist_ok=True)
        connection = {
            "transport": "ipc", "ip": self._config["sockets"] + "/k", "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256", "kernel_name": "",
            "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5,
        }  # fmt: skip
        path = self._config["sockets"] + "/connection.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(connection, file)
        if not self._config["probe"]:
            __import__("ipykernel.kernelapp")  # once for both processes
        reports, report_end = os.pipe()
        self._fork(path, null, reports, report_end)
        os.close(report_end)
        os.dup2(null, 2)
        inside_walls.hide_memory()
        threading.Thread(target=self._reap, daemon=True).start()
        threading.Thread(target=self._work, args=(connection, outer, reports), daemon=True).start()
        self._listen()

    def _fork(self, path: str, null: int, reports: int, report_end: int) -> None:
        gateway = os.getpid()
        self._kernel = os.fork()
        if self._kernel:
            return
        try:
            for descriptor in (*self._own, reports):
                os.close(descriptor)
            inside_walls.die_with(gateway)
            os.setsid()
            inside_walls.die_first()
            if self._config["walls"]:
                inside_walls.restrict_files(self._config["landlock"])
            sys.argv[:] = ["kernel"]

            def before_code() -> None:
                os.nice(NICE)  # only now: a start should not wait for whatever keeps the machine busy
                if self._config["walls"]:
                    inside_walls.load_filter(base64.b64decode(self._config["kernel_filter"]))
                facts = inside_walls.report_inner(self._config["must_not_list"])
                os.write(report_end, json.dumps(facts).encode())
                os.close(report_end)
                os.dup2(null, 2)

            if self._config["probe"]:
                before_code()
                os._exit(0)
            from . import inside_kernel

            inside_kernel.run(path, self._config, before_code)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(report_end, json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}).encode())
        finally:
            os._exit(70)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one frame; any thread may."""
        with self._writing:
            _write(self._answers, message)

    def _reap(self) -> None:
        while True:
            try:
                ended, status = os.waitpid(-1, 0)
            except ChildProcessError:
                ended, status = self._kernel, 0
            if ended == self._kernel:
                break
        self._reported.wait(5)  # a kernel that failed at its start says why there
        if self._config["probe"]:
            return
        try:
            self.send({"t": "died", "status": status})
        finally:
            self._finish()

    def _finish(self) -> None:
        # Never released: a second thread that comes here must not end the process while the first still clears up.
        self._ending.acquire()
        for end in (os.kill, os.killpg):  # it may not have a group of its own yet
            with contextlib.suppress(OSError):
                end(self._kernel, signal.SIGKILL)
        _kill_orphans()
        _remove_scratch(self._config)
        os._exit(0)

    def _work(self, connection: Mapping[str, Any], outer: dict[str, Any], reports: int) -> None:
        try:
            inner = json.loads(self._first_report(reports))
            if self._config["probe"] or "error" in inner:
                self.send({"t": "ready", "outer": outer, "inner": inner})
                self._reported.set()
                return
            self._reported.set()
            from . import inside_cells

            channels = inside_cells.Channels(connection)
            channels.wait_ready(self._config["start_s"])
            self.send({"t": "ready", "outer": outer, "inner": inner})
            while True:
                job = self._jobs.get()
                if job["op"] == "exec":
                    self._running = job["id"]
                    inside_cells.Cell(channels, job["id"], self._config["cell"], self.send).run(job["code"])
                    self._running = None
                else:
                    self.send(
                        {"t": "done", "id": job["id"], **inside_files.answer(job, self._config["work"])}
                    )
        except BaseException as error:
            self.send({"t": "fatal", "d": f"{type(error).__name__}: {error}"[:500]})
            self._finish()

    def _first_report(self, reports: int) -> bytes:
        text = b""
        while part := os.read(reports, 65_536):
            text += part
        os.close(reports)
        return text or b'{"error": "the kernel ended before it reported"}'

    def _listen(self) -> None:
        while True:
            (length,) = struct.unpack(">I", self._take(4))
            if length > _MOST_IN_A_FRAME:
                self._finish()
            command = json.loads(self._take(length))
            if command["op"] != "interrupt":
                self._jobs.put(command)
            elif self._running is not None:
                with contextlib.suppress(OSError):
                    os.killpg(self._kernel, signal.SIGINT)

    def _take(self, count: int) -> bytes:
        taken = bytearray()
        while len(taken) < count:
            part = os.read(self._commands, min(count - len(taken), 2**20))
            if not part:
                self._finish()
            taken += part
        return bytes(taken)
