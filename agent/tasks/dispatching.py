"""Rows on machines that come and go: each to whoever is free, and once more where a machine was lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from arriero.prompts import ArrieroError

from ..cancellation import CancellationToken, RunCancelled
from .errors import TaskError
from .results import Status, TaskResult
from .rows import Row
from .task import Task, TypedInputs
from .working import Worked

LOSSES = 3
"""So often a row may lose the machine it runs on, before it is taken to be the reason."""
_LOOK = 2.0  # seconds between looks at which machines are there
T = TypeVar("T")


class MachineLost(ArrieroError):
    """Nobody knows what became of the work: the machine, or the process on it, has gone."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a machine says of itself once its model is loaded."""

    model: str
    identity: str
    version: str


class Machine(Protocol):
    """A place for rows on another machine."""

    async def open(self) -> Description:
        """Load the model. Raises MachineLost, or what prevents it."""
        ...

    async def run(self, row: Row, inputs: TypedInputs, lease: int) -> Worked:
        """Work on a row. Raises MachineLost."""
        ...

    def kill(self) -> None:
        """End it, whatever it does."""
        ...


class Fleet(Protocol):
    """The machines that there are."""

    async def names(self) -> Collection[str]:
        """Those that are there now."""
        ...

    def machine(self, name: str) -> Machine:
        """A place on one of them."""
        ...


class Dispatcher:
    """Gives rows to machines, ``jobs`` to each at a time, inside of ``running``.

    A machine that comes later is used too; one whose model or version differs from the first's is not.
    ``on_notice`` is told of every machine that is lost or cannot be used. Where there is none, it waits
    ``patience`` seconds for one.
    """

    def __init__(
        self,
        task: Task,
        fleet: Fleet,
        jobs: int,
        cancel: CancellationToken,
        *,
        patience: float = 60.0,
        on_notice: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._task, self._fleet, self._jobs, self._cancel = task, fleet, jobs, cancel
        self._patience, self._notice = patience, on_notice
        self._machines: dict[str, Machine] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._unfit: dict[str, str] = {}
        self._free: asyncio.Queue[tuple[str, Machine]] = asyncio.Queue()
        self._first: Description | None = None
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look for machines as long as this is open; those that were found are ended with it."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            begun = [looking, *self._opening.values()]
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)
            for machine in self._machines.values():
                machine.kill()

    async def description(self) -> Description:
        """That of the first machine that is ready. Raises TaskError where there is none in time."""
        name, machine = await self._next()
        self._free.put_nowait((name, machine))
        assert self._first is not None
        return self._first

    async def run(self, row: Row, lease: Callable[[str], Awaitable[int]]) -> Worked:
        """Have a row worked on; where its machine is lost, by another. ``lease`` gives it to one at a time.

        Raises TaskError where no machine is left.
        """
        try:
            inputs = self._task.read_inputs(row.inputs)
        except TaskError as error:
            return self._ended(row, "error", str(error))
        try:
            for _ in range(LOSSES):
                name, machine = await self._cancel.guard(self._next())
                try:
                    working = machine.run(row, inputs, await lease(row.key))
                    worked = await self._cancel.guard(working)
                except MachineLost as error:
                    self._lose(name, machine, str(error))
                    continue
                self._free.put_nowait((name, machine))
                return worked
        except RunCancelled:
            return self._ended(row, "cancelled", "the batch was stopped")
        return self._ended(row, "error", f"{LOSSES} machines were lost while they ran this row")

    def _ended(self, row: Row, status: Status, why: str) -> Worked:
        return Worked(TaskResult(task=self._task.name, status=status, inputs=dict(row.inputs), error=why))

    async def _next(self) -> tuple[str, Machine]:
        """A machine that has room for a row. Raises TaskError after a time without any machine."""
        while True:
            getting = asyncio.ensure_future(self._free.get())
            try:
                done, _ = await asyncio.wait([getting], timeout=self._patience)
            finally:
                if not getting.done():
                    getting.cancel()
            if not done:
                self._see_that_one_is_left()
                continue
            name, machine = getting.result()
            if self._machines.get(name) is machine:
                return name, machine

    def _see_that_one_is_left(self) -> None:
        if not self._machines and not self._opening:
            why = next(iter(self._unfit.values()), "no machine of the cluster is there")
            raise TaskError(f"nobody is left to work on rows: {why}; --resume does the rest later")

    def _lose(self, name: str, machine: Machine, why: str) -> None:
        if self._machines.get(name) is machine:
            del self._machines[name]
            machine.kill()  # it may only have been out of reach, and still be working
            self._notice(f"lost {name}: {why}; its rows are done again elsewhere")

    async def _look(self) -> None:
        while True:
            there = await self._fleet.names()
            for name in there:
                if not (name in self._machines or name in self._opening or name in self._unfit):
                    self._opening[name] = asyncio.create_task(self._open(name))
            await asyncio.sleep(_LOOK)

    async def _open(self, name: str) -> None:
        machine = self._fleet.machine(name)
        fit = False
        try:
            described = await machine.open()
            self._first = self._first or described
            if described != self._first:
                raise TaskError(f"it has {described}, and the first machine has {self._first}")
            fit = True
        except Exception as error:
            why = str(error) or type(error).__name__
            if not isinstance(error, MachineLost):
                self._unfit[name] = why
            self._notice(f"cannot use {name}: {why}")
        finally:
            del self._opening[name]
            if not fit:
                machine.kill()
        if fit:
            self._machines[name] = machine
            for _ in range(self._jobs):
                self._free.put_nowait((name, machine))
