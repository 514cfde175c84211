"""Carries tokens from the engine's thread to the task that waits for them."""

import asyncio
from collections import deque
from typing import Generic, Protocol, TypeVar

from .base import ModelError

PACE = 0.016  # seconds, a picture of a screen: waking a task for each token of a fast model costs more than the token


class Ending(Protocol):
    """What may be the last of its kind."""

    @property
    def stop(self) -> str | None: ...


T = TypeVar("T", bound=Ending)


class Mailbox(Generic[T]):
    """Made on the event loop; ``put`` is for any one thread, ``get`` for one task.

    A token that the task waits for wakes it at once, and so does the last one. Where tokens come faster than one in
    16 ms, the task looks for them at that pace by itself, so that none waits longer and none costs a wake.
    ``put`` raises RuntimeError once the loop is closed.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[T | ModelError | None] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._called_for = False
        self._fast = False
        self._woken = float("-inf")

    def put(self, item: T | ModelError | None) -> None:
        """Add a token, or what ended them: None or an error."""
        self._items.append(item)
        if self._called_for or item is None or isinstance(item, ModelError) or item.stop is not None:
            self._called_for = False
            self._loop.call_soon_threadsafe(self._wake)
        elif self._loop.is_closed():
            raise RuntimeError("Event loop is closed")

    async def get(self) -> T | ModelError | None:
        """The next item, as soon as there is one."""
        while not self._items:
            self._waiter = self._loop.create_future()
            if self._fast:
                await self._look_soon(self._waiter)
                continue
            self._called_for = True
            if not self._items:  # looked at after the call: what is put from now on wakes
                await self._waiter
            now = self._loop.time()
            self._woken, self._fast = now, now - self._woken < PACE
        return self._items.popleft()

    async def _look_soon(self, waiter: "asyncio.Future[None]") -> None:
        timer = self._loop.call_at(self._woken + PACE, self._wake)
        try:
            await waiter
        except asyncio.CancelledError:
            timer.cancel()
            raise
        now = self._loop.time()
        if now < timer.when():  # the last item came first
            timer.cancel()
        if self._items:
            self._woken = now
        else:
            self._fast = False

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
