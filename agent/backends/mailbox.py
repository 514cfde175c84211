"""Carries tokens from the engine's thread to the task that waits for them."""

import asyncio
import time
from collections import deque

from .base import ModelError, Token

WAKE_EVERY = 0.008  # seconds; waking the event loop for each token of a fast model costs more than the token


class Mailbox:
    """Made on the event loop; ``put`` is for any one thread, ``get`` for one task.

    The task is woken for the first token, for the last, and at most every 8 ms between them: a token may wait
    for those that follow it within that time, never for the task. ``put`` raises RuntimeError once the loop is
    closed.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[Token | ModelError | None] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._woken = float("-inf")

    def put(self, item: Token | ModelError | None) -> None:
        """Add a token, or what ended them: None or an error."""
        self._items.append(item)
        now = time.monotonic()
        more = isinstance(item, Token) and item.stop is None
        if not more or now - self._woken >= WAKE_EVERY:
            self._woken = now
            self._loop.call_soon_threadsafe(self._wake)

    async def get(self) -> Token | ModelError | None:
        """The next item, as soon as there is one."""
        while not self._items:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._items.popleft()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
