"""Threads beside the event loop: blocking functions that may be abandoned, places, promises."""

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

T = TypeVar("T")


_LINGER: Final = 0.05
"""Seconds that a thread waits for another call: starting one takes several times as long as waking one."""

_Tell = Callable[[], None]
_idle: "deque[_Worker]" = deque()
# Of a process that has forked, the child has none of its threads.
os.register_at_fork(after_in_child=_idle.clear)


async def in_thread(function: Callable[[], T], *, name: str, at_end: Callable[[], None] = lambda: None) -> T:
    """Call ``function`` in a thread that does nothing else meanwhile, and return or raise what it does.

    Cancelling leaves the thread to finish alone; it is a daemon, so that it does not hold up the end of the
    program, and there is no bound on how many there are. ``at_end`` is called in the thread when it has finished.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: T | None, error: BaseException | None) -> None:
        if not future.done():
            future.set_result((value, error))

    def work() -> _Tell:
        value: T | None = None
        fault: BaseException | None = None
        try:
            value = context.run(function)
        except BaseException as error:
            fault = error
        at_end()
        return partial(_call_soon, loop, settle, value, fault)

    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
        worker.start()
    worker.given.put((name, work))
    value, fault = await future
    if fault is not None:
        raise fault
    return value  # type: ignore[return-value]


def end_idle_threads() -> None:
    """End the threads that have nothing to do, and wait until they are gone."""
    while _idle:
        try:
            worker = _idle.pop()
        except IndexError:
            return
        worker.given.put(None)
        worker.join()


class _Worker(threading.Thread):
    """Calls what it is given, one thing after another; ends when there is nothing for a while."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.given: SimpleQueue[tuple[str, Callable[[], _Tell]] | None] = SimpleQueue()

    def run(self) -> None:
        """Work until nothing comes."""
        given = self.given.get()
        while given is not None:
            self.name, work = given
            tell = work()
            del given, work  # nothing of the call is held while this waits
            _idle.append(self)
            tell()
            del tell
            given = self._next()

    def _next(self) -> tuple[str, Callable[[], _Tell]] | None:
        try:
            return self.given.get(timeout=_LINGER)
        except Empty:
            try:
                _idle.remove(self)
            except ValueError:  # somebody has taken it just now, and gives it something
                return self.given.get()
            return None


def _call_soon(loop: asyncio.AbstractEventLoop, *call: Any) -> None:
    try:
        loop.call_soon_threadsafe(*call)
    except RuntimeError:
        return  # the loop has closed: nobody waits any more


async def outcome(future: "Future[T]") -> T:
    """Wait for what another thread promised to any number of callers; cancelling one leaves the others."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    future.add_done_callback(lambda _: _call_soon(loop, _settle, done))
    await done
    return future.result()


class Places:
    """A number of places that calls hold while they run, shared by threads and event loops.

    ``release`` may be called from any thread; ``acquire`` waits in the order of arrival.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    async def acquire(self) -> None:
        """Wait for a place and take it."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        while True:
            with self._lock:
                if self._free > 0:
                    self._free -= 1
                    return
                turn = loop.create_future()
                self._waiting.append((loop, turn))
            try:
                await turn
            except asyncio.CancelledError:
                self._leave(loop, turn)
                raise

    def release(self) -> None:
        """Give a place back."""
        with self._lock:
            self._free += 1
        self._wake()

    def _leave(self, loop: asyncio.AbstractEventLoop, turn: "asyncio.Future[None]") -> None:
        with self._lock:
            if (loop, turn) in self._waiting:
                self._waiting.remove((loop, turn))
                return
        # It had been woken: the turn goes to the next.
        self._wake()

    def _wake(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._free <= 0:
                    return
                loop, turn = self._waiting.pop(0)
            try:
                loop.call_soon_threadsafe(_settle, turn)
            except RuntimeError:
                continue  # that loop has closed; its waiter is gone
            return


def _settle(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)
