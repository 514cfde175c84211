"""The sandbox as callers use it: asynchronous, one cell at a time, replaced when it breaks."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Self, TypeVar

from . import inside_files
from .errors import SandboxBroken, SandboxUnavailable
from .held import PRELOAD, Held, Kind, Warm
from .interpreter import Named
from .levels import LevelReport, Wanted, report
from .limits import SandboxLimits
from .plan import UNSAFE
from .result import Execution
from .room import Room
from .session import Cancel, OnOutput, Session

Result = TypeVar("Result")
_LETTING_GO_S = 0.12
_MIB = 2**20


class Sandbox:
    """A stateful Python kernel in a sandbox.

    ``level`` is ``"auto"`` (the best that works here), ``"bubblewrap"`` or ``"landlock"``; SandboxUnavailable is
    raised rather than run anything outside a sandbox, unless it was made by ``Sandbox.unsafe_none``. ``spare`` keeps
    a second, warmed sandbox ready for restarts, at about 100 MB of memory. ``preload`` names modules to import
    before the first cell, where they are installed. ``python`` names the interpreter and with it the packages: a
    file, a virtual environment or a command of version 3.11 or newer with ipykernel; None is arriero's own.
    ``warm`` takes the place of all of these: sandboxes that share one share its limits, level, interpreter and
    spare; those that share a ``room`` share the number of kernels.
    """

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        level: Wanted = "auto",
        *,
        spare: bool = True,
        preload: tuple[str, ...] = PRELOAD,
        python: Named = None,
        warm: Warm | None = None,
        room: Room | None = None,
    ) -> None:
        self._warm = warm or Warm(Kind(limits or SandboxLimits(), level, python, preload), keep=spare)
        self._owns_warm = warm is None
        self._room = room or Room(1)
        self.limits = self._warm.kind.limits
        self._given: dict[str, bytes] = {}
        self._current: Held | None = None
        self._closing: set[Future[None]] = set()
        self._closed = False
        self._lost_before = ""
        self._cancel: Cancel | None = None
        self._busy = asyncio.Lock()

    @classmethod
    def unsafe_none(
        cls,
        limits: SandboxLimits | None = None,
        *,
        spare: bool = True,
        preload: tuple[str, ...] = PRELOAD,
        python: Named = None,
    ) -> Self:
        """A kernel without any sandbox: its code can do all that you can. For use inside a container of your own.

        Time, output and, by sampling, memory are still limited. Every start is logged as a warning.
        """
        return cls(limits, UNSAFE, spare=spare, preload=preload, python=python)

    @staticmethod
    def probe(level: Wanted = "auto", python: Named = None) -> LevelReport:
        """Which level would be used here, tried for real; blocks for a moment the first time."""
        return report(level, python)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Have a kernel ready; does nothing when there is one. Raises SandboxUnavailable or SandboxBroken."""
        async with self._in_use():
            return

    async def prestart(self) -> None:
        """Begin to start a kernel and return at once; problems show at the first call."""
        if self._current is None and not self._closed:
            self._current = self._warm.take()

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
        async with self._in_use() as held:
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
                result = await _undisturbed(future)
            except asyncio.CancelledError:
                cancel.ask()
                await asyncio.wait([asyncio.wrap_future(future)], timeout=_LETTING_GO_S)
                raise
            finally:
                self._cancel = None
            if result.state_lost:
                self._retire()
            self._warm.refill()
            before, self._lost_before = self._lost_before, ""
            return replace(result, note="; ".join(filter(None, (before, result.note)))) if before else result

    async def interrupt(self) -> None:
        """Interrupt the running cell, as Ctrl-C does; kills the kernel where that does not help."""
        if self._cancel is not None:
            self._cancel.ask()

    async def restart(self) -> None:
        """Throw the kernel away and have a fresh one ready; the next cell's result says so."""
        self.rest("it was restarted")
        await self.start()

    @property
    def live(self) -> bool:
        """Whether it has a kernel, which costs memory."""
        return self._current is not None

    def resumed(self) -> None:
        """Say with the next result that Python is a fresh one, where the cells before ran in another process."""
        if not self.live and not self._lost_before:
            self._lost_before = _started_afresh("the conversation was resumed")

    def rest(self, why: str) -> None:
        """End the kernel until the next call, which starts a fresh one and says why."""
        held = self._current
        if held is not None and held.last is not None:
            self._lost_before = _started_afresh(why)
        self._retire()

    async def put(self, name: str, data: bytes) -> None:
        """Write a file into the work directory, now if there is a kernel, and into every fresh one from now on.

        OSError for odd names, above ``limits.upload_mb``, and above ``limits.given_mb`` for all files together.
        """
        given = sum(map(len, self._given.values())) - len(self._given.get(name, b"")) + len(data)
        if given > self.limits.given_mb * _MIB:
            raise OSError(f"with {name} more than {self.limits.given_mb} MiB were given")
        inside_files.check_name(name)
        if len(data) > self.limits.upload_mb * _MIB:
            raise OSError(f"{name} has more than {self.limits.upload_mb} MiB")
        if self.live:
            await self._operate(lambda session: session.put(name, data))
        self._given[name] = data

    async def get(self, path: str) -> bytes:
        """Read a regular file of the work directory; OSError for links and above ``limits.download_mb``."""
        return await self._operate(lambda session: session.get(path))

    async def take(self, path: str, folder: str | os.PathLike[str]) -> Path:
        """Copy a file of the work directory into a folder of yours, under its last name; nothing is overwritten.

        OSError as for ``get``, and FileExistsError where the name is taken, be it by a link.
        """
        target = Path(folder) / _own_name(path)
        data = await self.get(path)
        await asyncio.to_thread(_write_new, target, data)
        return target

    async def ls(self) -> list[tuple[str, int]]:
        """Names and sizes of the files in the work directory."""
        return await self._operate(lambda session: session.ls())

    async def close(self) -> None:
        """End all processes; safe to call twice. The sandbox cannot be used afterwards."""
        self._closed = True
        self._retire()
        if self._owns_warm and (waiting := self._warm.close()) is not None:
            self._closing.add(waiting)
        if self._closing:
            await asyncio.wait([asyncio.wrap_future(future) for future in self._closing], timeout=10)

    async def _operate(self, work: Callable[[Session], Result]) -> Result:
        async with self._in_use() as held:
            try:
                return await asyncio.wrap_future(held.submit(work))
            except SandboxBroken:
                self._retire()
                raise

    @contextlib.asynccontextmanager
    async def _in_use(self) -> AsyncGenerator[Held, None]:
        async with self._busy:
            await self._room.enter(self)
            try:
                yield await self._ready()
            finally:
                self._room.leave(self)

    async def _ready(self) -> Held:
        if self._closed:
            raise SandboxUnavailable("this sandbox was closed")
        await self._settle()
        for again in (True, False):
            if self._current is None:
                self._current = self._warm.take()
            held = self._current
            try:
                await _undisturbed(held.started)
                if not held.furnished:
                    await _undisturbed(held.submit(self._furnish))
                    held.furnished = True
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

    def _furnish(self, session: Session) -> None:
        for name, data in self._given.items():
            session.put(name, data)

    async def _settle(self) -> None:
        """Wait out a cell that nobody waits for any more, and replace a kernel that ended since its last cell."""
        held = self._current
        if held is None:
            return
        if held.last is not None and not held.last.done():
            await _undisturbed(held.last)
        if not held.usable():
            self.rest((held.session and held.session.reason) or "it ended")

    def _retire(self) -> None:
        held, self._current = self._current, None
        if held is not None:
            future = held.close()
            self._closing.add(future)
            future.add_done_callback(self._closing.discard)


async def _undisturbed(future: "Future[Result]") -> Result:
    """The future's outcome; who stops waiting for it neither cancels it nor hears of its failure."""
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(waiting)


def _write_new(target: Path, data: bytes) -> None:
    with open(target, "xb") as file:
        file.write(data)


def _started_afresh(why: str) -> str:
    return f"before this call Python was started afresh ({why}): earlier variables and files are gone"


def _own_name(path: str) -> str:
    """The last part of a path inside, fit to be a file's name outside: nothing hidden, nothing unprintable."""
    name = PurePosixPath(path).name
    if not name.isprintable() or name.startswith((".", "-")) or "\\" in name or not name:
        raise OSError(f"not a name for a file: {name!r}")
    return name
