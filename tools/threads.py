"""Threads beside the event loop: blocking functions that may be abandoned, places, promises."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T], *, name: str, at_end: Callable[[], None] = lambda: None) -> T:
    """Call ``function`` in a thread of its own and return or raise what it does.

    Cancelling leaves the thread to finish alone; it is a daemon, so that it neither holds up the end of the
    program nor takes a place in a shared pool. ``at_end`` is called in the thread when it has finished.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: T | None, error: BaseException | None) -> None:
        if not future.done():
            future.set_result((value, error))

    def work() -> None:
        value: T | None = None
        fault: BaseException | None = None
        try:
            value = context.run(function)
        except BaseException as error:
            fault = error
        at_end()
        try:
            loop.call_soon_threadsafe(settle, value, fault)
        except RuntimeError:
            return  # the loop has closed: nobody waits for an abandoned thread

    threading.Thread(target=work, name=name, daemon=True).start()
    value, fault = await future
    if fault is not None:
        raise fault
    return value  # type: ignore[return-value]


async def outcome(future: "Future[T]") -> T:
    """Wait for what another thread promised to any number of callers; cancelling one leaves the others."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def wake(_: "Future[T]") -> None:
        try:
            loop.call_soon_threadsafe(_settle, done)
        except RuntimeError:
            return  # the loop has closed: nobody waits any more

    future.add_done_callback(wake)
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
