"""What the Python tool is measured beside: a kernel without a sandbox, and a peer's executor inside the process."""

import json
import os
import select
import subprocess
import sys
import time
from typing import Any

from adapter import Adapter, Seen

_WORKER = """
import contextlib, io, json, sys
from smolagents.local_python_executor import LocalPythonExecutor
executor = LocalPythonExecutor(additional_authorized_imports=json.loads(sys.argv[1]))
executor.send_tools({})
for line in sys.stdin:
    try:
        done = executor(json.loads(line))
        text = f"{done.logs}\\n{done.output if done.output is not None else ''}"
        answer = {"text": text, "status": "ok"}
    except BaseException as error:
        answer = {"text": f"{type(error).__name__}: {error}", "status": "error"}
    sys.__stdout__.write(json.dumps(answer) + "\\n")
    sys.__stdout__.flush()
"""


class Unsandboxed(Adapter):
    """The same tool without any wall."""

    sandboxed = False

    def __init__(self) -> None:
        super().__init__("unsafe-none")
        self.name = "a kernel without a sandbox"


class SmolagentsLocal:
    """smolagents' LocalPythonExecutor with its defaults, in a process that plays the agent."""

    sandboxed = False
    files = False

    def __init__(self, imports: tuple[str, ...] = ()) -> None:
        self.name = "smolagents LocalPythonExecutor, defaults"
        self._imports = imports
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", _WORKER, json.dumps(self._imports)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )

    def execute(self, code: str, timeout: float = 30) -> Seen:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(code).encode() + b"\n")
        line = self._line(time.monotonic() + timeout + 5)
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            self.restart()
            return Seen("", "timeout", mimes=["text/plain"], state_lost=True)
        return Seen(answer["text"], answer["status"], mimes=["text/plain"])

    def _line(self, deadline: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor, line = self._process.stdout.fileno(), b""
        while (
            not line.endswith(b"\n")
            and select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]
        ):
            part = os.read(descriptor, 1 << 20)
            if not part:
                break
            line += part
        return line

    def restart(self) -> None:
        self.close()
        self.start()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()


def plain() -> Unsandboxed:
    """A kernel without a sandbox."""
    return Unsandboxed()


def smolagents() -> SmolagentsLocal:
    """smolagents' executor."""
    return SmolagentsLocal()
