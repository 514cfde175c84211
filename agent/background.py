"""An event loop in a thread of its own, for code that is not asynchronous."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """Runs coroutines in one background thread, which lives until ``close``; safe to use from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._work, name="arriero-loop", daemon=True)
        self._thread.start()
        self._ready.wait()

    def start(self, running: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin to run a coroutine; the future holds what it returns or raises.

        Raises RuntimeError in the background thread itself, which would wait for itself.
        """
        assert self._loop is not None
        if threading.current_thread() is self._thread:
            running.close()
            raise RuntimeError(
                "a blocking call cannot be made from code that such a call runs; await it instead"
            )
        return asyncio.run_coroutine_threadsafe(running, self._loop)

    def call(self, running: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and return or raise what it does; stops it where this is interrupted."""
        future = self.start(running)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what still runs, and end the thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _work(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._ready.set()
            self._loop.run_forever()
