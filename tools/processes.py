"""Processes that run a tool's function and can be killed: each runs one call at a time, and is kept for the next.

The function is found by its name in a fresh interpreter. Arguments go there and results come back as JSON and raw
bytes: what a process answers is never unpickled.
"""

import asyncio
import contextlib
import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

from .base import ApprovalRequired, Artifact, ModelRetry, ToolContext, ToolError, ToolFailed, ToolResult
from .threads import in_thread

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

MAX_ANSWER: Final = 256 * 1024 * 1024
"""Largest text or artifact that is taken from a process, in bytes."""

_KEPT: Final = 4  # processes that wait for the next call
_RAISED: Final = {kind.__name__: kind for kind in (ModelRetry, ToolFailed, ApprovalRequired, ToolError)}


class Processes:
    """Runs the function ``qualname`` of ``module`` in processes; they end with ``close`` or with the program."""

    def __init__(self, module: str, qualname: str, *, name: str) -> None:
        self._where = (module, qualname)
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: weakref.WeakSet[_Worker] = weakref.WeakSet()
        self._end = weakref.finalize(self, _kill_all, self._all)

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Run one call; cancelling it kills its process, and what that has started. Raises ToolError."""
        with self._lock:
            worker = self._idle.pop() if self._idle else _Worker(self._where, self._name)
            self._all.add(worker)
        try:
            result = await in_thread(partial(worker.ask, arguments), name=f"tool {self._name}")
        except asyncio.CancelledError:
            worker.kill()
            raise
        finally:
            self._keep(worker)
        return result

    def close(self) -> None:
        """Kill all processes; the next call starts another."""
        with self._lock:
            self._idle.clear()
        _kill_all(self._all)

    def _keep(self, worker: "_Worker") -> None:
        with self._lock:
            if worker.usable and len(self._idle) < _KEPT:
                self._idle.append(worker)
                return
        worker.kill()


def _kill_all(workers: "weakref.WeakSet[_Worker]") -> None:
    for worker in list(workers):
        worker.kill()


class _Worker:
    """One process."""

    def __init__(self, where: tuple[str, str], name: str) -> None:
        self.usable = False
        self._where = where
        self._name = name
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection[bytes, bytes] | None = None
        self._killed = False

    def ask(self, arguments: dict[str, Any]) -> ToolResult:
        """One call, in this thread. Raises ToolError for everything that the function raises."""
        self.usable = False
        connection = self._started()
        try:
            connection.send_bytes(json.dumps(arguments).encode())
            answer = _received(connection)
        except (EOFError, OSError):
            raise ToolError(self._end()) from None
        self.usable = True
        if isinstance(answer, ToolResult):
            return answer
        raise answer

    def kill(self) -> None:
        """End the process and what it has started; safe to call twice and from any thread."""
        with self._lock:
            self._killed, self.usable = True, False
            process = self._process
        if process is None or process.pid is None or not process.is_alive():
            return
        # Its own group, unless it has not come so far yet; Windows has no groups.
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg") and os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()

    def _started(self) -> "Connection[bytes, bytes]":
        with self._lock:
            if self._connection is not None:
                return self._connection
            if self._killed:
                raise ToolError(f"{self._name} was stopped before its process had started")
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=serve, args=(theirs, *self._where), daemon=True)
            try:
                self._process.start()
            finally:
                theirs.close()
            return self._connection

    def _end(self) -> str:
        assert self._process is not None
        self._process.join(1.0)
        code = self._process.exitcode
        self.kill()
        if code is None:
            return f"the process of {self._name} gave an answer that cannot be used"
        how = f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        return f"the process of {self._name} ended without an answer ({how})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _received(connection: "Connection[bytes, bytes]") -> ToolResult | ToolError:
    head = json.loads(connection.recv_bytes(MAX_ANSWER))
    if "raised" in head:
        return _RAISED.get(head["raised"], ToolError)(head["text"])
    artifacts = tuple(
        Artifact(name, mime, connection.recv_bytes(MAX_ANSWER)) for name, mime in head["artifacts"]
    )
    return ToolResult(head["content"], artifacts, head["error"])


def serve(connection: "Connection[bytes, bytes]", module: str, qualname: str) -> None:
    """What the process does: answer calls until the other side has gone."""
    if hasattr(os, "setsid"):
        os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Standard output is the program's answer; a function's prints are not part of it.
    sys.stdout.flush()
    os.dup2(2, 1)
    run = _runner(module, qualname)
    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        head, parts = _answer(run, json.loads(request))
        connection.send_bytes(json.dumps(head).encode())
        for part in parts:
            connection.send_bytes(part)


def _runner(module: str, qualname: str) -> Callable[[dict[str, Any]], ToolResult]:
    from .function import FunctionTool

    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    tool: FunctionTool[Any, Any] = FunctionTool(found.function if isinstance(found, FunctionTool) else found)
    return lambda arguments: asyncio.run(tool.run(arguments, ToolContext(tool_name=tool.name)))


def _answer(
    run: Callable[[dict[str, Any]], ToolResult], arguments: dict[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    try:
        result = run(arguments)
    except ToolError as error:
        known = next(kind.__name__ for kind in _RAISED.values() if isinstance(error, kind))
        return {"raised": known, "text": str(error)}, []
    except Exception as error:
        return {"raised": "", "text": f"{type(error).__name__}: {error}"}, []
    head = {
        "content": result.content,
        "error": result.error,
        "artifacts": [(artifact.name, artifact.mime) for artifact in result.artifacts],
    }
    return head, [artifact.data for artifact in result.artifacts]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
