"""Stopping a run from outside: from another thread, a signal handler, or a deadline."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Self, TypeVar

from arriero.prompts import ArrieroError

T = TypeVar("T")

_BREATH: Final = 0.01
"""Seconds after which a run whose model and tools wait for nothing lets others have the loop."""


class RunCancelled(ArrieroError):
    """Raised inside a run where it was waiting when it was told to stop."""


class CancellationToken:
    """Tells a run to stop; ``cancel`` may be called from any thread and in a signal handler, any number of
    times.

    A token made with ``parent`` also stops when the parent does. ``reason`` is None until then.
    """

    def __init__(self, parent: "CancellationToken | None" = None) -> None:
        self.reason: str | None = None
        # What to wake. Adding, removing and copying are one step each for other threads, so that there is no lock
        # which a signal handler could find taken; whoever adds something looks at the reason afterwards.
        self._wake: dict[object, Callable[[], None]] = {}
        self._parent = parent
        if parent is not None:
            parent._wake[self] = lambda: self.cancel(parent.reason or "cancelled")
            if parent.reason is not None:
                self.cancel(parent.reason)

    def cancel(self, reason: str = "cancelled") -> None:
        """Stop whatever waits under this token; the first reason stays."""
        if self.reason is None:
            self.reason = reason
        for call in list(self._wake.values()):
            call()

    def detach(self) -> None:
        """Forget the parent; a run does so when it has ended."""
        if self._parent is not None:
            self._parent._wake.pop(self, None)

    async def guard(self, awaitable: Awaitable[T]) -> T:
        """Wait for ``awaitable``, or raise RunCancelled at once when the token is cancelled."""
        with Waits(self) as waits:
            return await waits.on(awaitable)


class Waits:
    """Waits under a token, one after another, that a cancel interrupts; what happens between them it leaves alone.

    A context manager: it is made once for many waits, since a model's tokens come by the thousand.
    """

    __slots__ = ("_breathed", "_loop", "_task", "_token", "_waiting")

    def __init__(self, token: CancellationToken) -> None:
        self._token = token
        self._task: asyncio.Task[Any] | None = None
        self._loop = asyncio.get_running_loop()
        self._waiting = False
        self._breathed = 0.0

    def __enter__(self) -> Self:
        self._token._wake[self] = self._wake
        return self

    def __exit__(self, *exc: object) -> None:
        del self._token._wake[self]

    async def on(self, awaitable: Awaitable[T]) -> T:
        """Wait for ``awaitable``, or raise RunCancelled at once when the token is cancelled."""
        if self._token.reason is not None:
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            raise RunCancelled(self._token.reason)
        self._task = asyncio.current_task(self._loop)
        self._waiting = True
        try:
            return await awaitable
        except asyncio.CancelledError:
            self._raise_own()
            raise
        finally:
            self._waiting = False

    async def next(self, items: AsyncIterator[T]) -> T | None:
        """The next of ``items``, None behind the last; raises RunCancelled, and then has not asked for it."""
        if self._token.reason is not None:
            raise RunCancelled(self._token.reason)
        self._task = asyncio.current_task(self._loop)
        self._waiting = True
        try:
            return await items.__anext__()
        except StopAsyncIteration:
            return None
        except asyncio.CancelledError:
            self._raise_own()
            raise
        finally:
            self._waiting = False

    async def breathe(self, *, at_once: bool) -> None:
        """Let the loop do what else there is, at once or where it may not have come to that for long.

        Raises RunCancelled.
        """
        if at_once or time.monotonic() - self._breathed > _BREATH:
            await self.on(asyncio.sleep(0))
            self._breathed = time.monotonic()

    def _raise_own(self) -> None:
        """Raise RunCancelled where a task was cancelled by this and by nobody else."""
        if self._token.reason is not None and self._task is not None and self._task.uncancel() == 0:
            raise RunCancelled(self._token.reason) from None

    def _wake(self) -> None:
        # A loop that is closing needs no waking.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if self._waiting and self._task is not None:
            # Once, however often the token is cancelled: a second one would look like a cancel from outside.
            self._waiting = False
            self._task.cancel()
