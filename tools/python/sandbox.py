"""The sandbox as callers use it: asynchronous, one cell at a time, replaced when it breaks."""

import asyncio
import contextlib
import importlib.util
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Self, TypeVar

from .errors import SandboxBroken, SandboxUnavailable
from .levels import LevelReport, Wanted, choose, report
from .limits import SandboxLimits
from .process import Child
from .result import Execution
from .session import Cancel, OnOutput, Session
from .worker import Worker

Result = TypeVar("Result")
PRELOAD = ("numpy", "matplotlib.pyplot")
_LETTING_GO_S = 0.12


class _Held:
    """A session and the thread that it was made in and lives with."""

    def __init__(self, limits: SandboxLimits, level: Wanted, preload: tuple[str, ...]) -> None:
        self._worker = Worker("arriero-sandbox")
        self._closed = False
        self.last: Future[Execution] | None = None
        self.session: Session | None = None
        self.started: Future[None] = self._worker.submit(lambda: self._start(limits, level, preload))

    def _start(self, limits: SandboxLimits, level: Wanted, preload: tuple[str, ...]) -> None:
        variant = choose(level)
        self.session = Session(Child(variant, limits, preload=preload, probe=False), limits)
        if self._closed:
            self.session.kill("closed")
        self.session.start()

    def submit(self, job: Callable[[Session], Result]) -> "Future[Result]":
        def run() -> Result:
            if self.session is None:
                raise SandboxBroken("the sandbox did not start")
            return job(self.session)

        return self._worker.submit(run)

    def usable(self) -> bool:
        if not self.started.done():
            return True
        return self.started.exception() is None and self.session is not None and self.session.alive()

    def close(self) -> "Future[None]":
        self._closed = True
        if self.session is not None:
            # Not in the worker, which may be busy with a cell; not here, where an event loop would wait.
            threading.Thread(target=self.session.kill, args=("closed",), daemon=True).start()
        done = self._worker.submit(self._free)
        self._worker.end()
        return done

    def _free(self) -> None:
        if self.session is not None:
            self.session.close()


class Sandbox:
    """A stateful Python kernel in a sandbox.

    ``level`` is ``"auto"`` (the best that works here), ``"bubblewrap"`` or ``"landlock"``. ``spare`` keeps a
    second, warmed sandbox ready for restarts, at about 100 MB of memory. ``preload`` names modules to import
    before the first cell, where they are installed. Never runs anything outside a sandbox: SandboxUnavailable
    is raised instead.
    """

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        level: Wanted = "auto",
        *,
        spare: bool = True,
        preload: tuple[str, ...] = PRELOAD,
    ) -> None:
        self.limits = limits or SandboxLimits()
        self._level: Wanted = level
        self._keep_spare = spare
        self._preload = tuple(
            name for name in preload if importlib.util.find_spec(name.split(".")[0]) is not None
        )
        self._current: _Held | None = None
        self._spare: _Held | None = None
        self._closing: set[Future[None]] = set()
        self._closed = False
        self._lost_before = ""
        self._cancel: Cancel | None = None
        self._busy = asyncio.Lock()

    @staticmethod
    def probe(level: Wanted = "auto") -> LevelReport:
        """Which level would be used here, tried for real; blocks for a moment the first time."""
        return report(level)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Have a kernel ready; does nothing when there is one. Raises SandboxUnavailable or SandboxBroken."""
        await self._ready()

    async def prestart(self) -> None:
        """Begin to start a kernel and return at once; problems show at the first call."""
        if self._current is None and not self._closed:
            self._current = self._take()

    async def execute(
        self, code: str, wall_s: float | None = None, on_output: OnOutput | None = None
    ) -> Execution:
        """Run one cell, with the variables of the cells before.

        ``wall_s`` is the time limit in seconds (default: ``limits.wall_s``). ``on_output(stream, text)`` is
        called in this event loop as output comes. Whatever the code does is in the result; a cancelled call
        interrupts the cell, and kills the kernel where that does not help.
        """
        if len(code) > self.limits.code_chars:
            raise ValueError(f"code of more than {self.limits.code_chars} characters")
        async with self._busy:
            held = await self._ready()
            loop = asyncio.get_running_loop()
            cancel = self._cancel = Cancel()

            def pass_on(stream: str, text: str) -> None:
                if on_output is not None:
                    with contextlib.suppress(RuntimeError):  # the loop has ended
                        loop.call_soon_threadsafe(on_output, stream, text)

            wall = self.limits.wall_s if wall_s is None else wall_s
            future = held.submit(lambda session: session.execute(code, wall, pass_on, cancel))
            held.last = future
            future.add_done_callback(lambda _: cancel.close())
            try:
                result = await asyncio.shield(asyncio.wrap_future(future))
            except asyncio.CancelledError:
                cancel.ask()
                await asyncio.wait([asyncio.wrap_future(future)], timeout=_LETTING_GO_S)
                raise
            finally:
                self._cancel = None
            if result.state_lost:
                self._retire()
            self._refill()
            before, self._lost_before = self._lost_before, ""
            return replace(result, note="; ".join(filter(None, (before, result.note)))) if before else result

    async def interrupt(self) -> None:
        """Interrupt the running cell, as Ctrl-C does; kills the kernel where that does not help."""
        if self._cancel is not None:
            self._cancel.ask()

    async def restart(self) -> None:
        """Throw the kernel away and have a fresh one ready."""
        self._retire()
        await self._ready()

    async def put(self, name: str, data: bytes) -> None:
        """Write a file into the work directory; OSError for odd names and above ``limits.upload_mb``."""
        await self._operate(lambda session: session.put(name, data))

    async def get(self, path: str) -> bytes:
        """Read a regular file of the work directory; OSError for links and above ``limits.download_mb``."""
        return await self._operate(lambda session: session.get(path))

    async def ls(self) -> list[tuple[str, int]]:
        """Names and sizes of the files in the work directory."""
        return await self._operate(lambda session: session.ls())

    async def close(self) -> None:
        """End all processes; safe to call twice. The sandbox cannot be used afterwards."""
        self._closed = True
        self._retire()
        if self._spare is not None:
            self._bury(self._spare)
            self._spare = None
        if self._closing:
            await asyncio.wait([asyncio.wrap_future(future) for future in self._closing], timeout=10)

    async def _operate(self, work: Callable[[Session], Result]) -> Result:
        async with self._busy:
            held = await self._ready()
            try:
                return await asyncio.wrap_future(held.submit(work))
            except SandboxBroken:
                self._retire()
                raise

    async def _ready(self) -> _Held:
        if self._closed:
            raise SandboxUnavailable("this sandbox was closed")
        await self._settle()
        for again in (True, False):
            if self._current is None:
                self._current = self._take()
            held = self._current
            try:
                await asyncio.shield(asyncio.wrap_future(held.started))
            except SandboxBroken:
                self._retire()
                if not again:
                    raise
            except SandboxUnavailable:
                self._retire()
                raise
            else:
                return held
        raise AssertionError("unreachable")

    async def _settle(self) -> None:
        """Wait out a cell that nobody waits for any more, and replace a kernel that ended since its last cell."""
        held = self._current
        if held is None:
            return
        if held.last is not None and not held.last.done():
            await asyncio.shield(asyncio.wrap_future(held.last))
        if not held.usable():
            if held.last is not None:
                why = (held.session and held.session.reason) or "it ended"
                self._lost_before = (
                    f"before this call Python was started afresh ({why}): earlier variables are gone"
                )
            self._retire()

    def _take(self) -> _Held:
        held, self._spare = self._spare, None
        if held is not None and held.usable():
            return held
        if held is not None:
            self._bury(held)
        return _Held(self.limits, self._level, self._preload)

    def _refill(self) -> None:
        if self._keep_spare and not self._closed and (self._spare is None or not self._spare.usable()):
            if self._spare is not None:
                self._bury(self._spare)
            self._spare = _Held(self.limits, self._level, self._preload)

    def _retire(self) -> None:
        held, self._current = self._current, None
        if held is not None:
            self._bury(held)

    def _bury(self, held: _Held) -> None:
        future = held.close()
        self._closing.add(future)
        future.add_done_callback(self._closing.discard)
