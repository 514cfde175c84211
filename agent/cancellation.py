"""Stopping a run from outside: from another thread, a signal handler, or a deadline."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from arriero.prompts import ArrieroError

T = TypeVar("T")


class RunCancelled(ArrieroError):
    """Raised inside a run where it was waiting when it was told to stop."""


class CancellationToken:
    """Tells a run to stop; ``cancel`` may be called from any thread and in a signal handler, any number of
    times.

    A token made with ``parent`` also stops when the parent does. ``reason`` is None until then.
    """

    def __init__(self, parent: "CancellationToken | None" = None) -> None:
        self.reason: str | None = None
        self._lock = threading.RLock()
        self._wake: dict[object, Callable[[], None]] = {}
        self._parent = parent
        if parent is not None:
            parent._add(self, lambda: self.cancel(parent.reason or "cancelled"))

    def cancel(self, reason: str = "cancelled") -> None:
        """Stop whatever waits under this token; the first reason stays."""
        with self._lock:
            if self.reason is None:
                self.reason = reason
            wake = list(self._wake.values())
        for call in wake:
            call()

    def detach(self) -> None:
        """Forget the parent; a run does so when it has ended."""
        if self._parent is not None:
            self._parent._remove(self)

    async def guard(self, awaitable: Awaitable[T]) -> T:
        """Wait for ``awaitable``, or raise RunCancelled at once when the token is cancelled."""
        if self.reason is not None:
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            raise RunCancelled(self.reason)
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        assert task is not None
        waiting = True

        def interrupt() -> None:
            nonlocal waiting
            if waiting:
                # Once, however often the token is cancelled: a second one would look like a cancel from outside.
                waiting = False
                task.cancel()

        def wake() -> None:
            # A loop that is closing needs no waking.
            if not loop.is_closed():
                loop.call_soon_threadsafe(interrupt)

        key = object()
        self._add(key, wake)
        try:
            return await awaitable
        except asyncio.CancelledError:
            if self.reason is not None and task.uncancel() == 0:
                raise RunCancelled(self.reason) from None
            raise
        finally:
            waiting = False
            self._remove(key)

    def _add(self, key: object, wake: Callable[[], None]) -> None:
        with self._lock:
            self._wake[key] = wake
            cancelled = self.reason is not None
        if cancelled:
            wake()

    def _remove(self, key: object) -> None:
        with self._lock:
            self._wake.pop(key, None)
