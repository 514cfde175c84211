"""Runs agents on a thread of their own, so that the main thread is always free for signals and the screen."""

import asyncio
import queue
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, Final, TypeVar

from arriero.agent.cancellation import CancellationToken
from arriero.agent.events import Event

T = TypeVar("T")

TICK: Final = 0.1  # seconds between looks at the clock while nothing happens
PATIENCE: Final = 3.0  # seconds for a cancelled run or a closing tool to end
_HARD_PRESSES: Final = 3


Pressed = Callable[[], bool]
"""Whether a key that stops what runs was pressed since this was last asked."""


@contextmanager
def _unwatched() -> Iterator[Pressed]:
    yield lambda: False


class Runner:
    """An event loop in a daemon thread; the main thread hands it work and waits in an interruptible way.

    ``watch`` watches the keyboard while something runs that a person may want to stop: a key that it knows does what
    Ctrl-C does (default: no key does).
    """

    def __init__(self) -> None:
        self.watch: Callable[[], AbstractContextManager[Pressed]] = _unwatched
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="arriero-loop", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
        """The result of a coroutine; Ctrl-C cancels it. Raises TimeoutError after ``timeout`` seconds."""
        return self._awaited(work, timeout)

    def attend(self, work: Coroutine[Any, Any, T], on_tick: Callable[[], None]) -> T:
        """The result of a coroutine that somebody waits for: ``watch`` watches the keyboard, ``on_tick`` shows what
        goes on. Ctrl-C cancels it.
        """
        with self.watch() as pressed:

            def tick() -> None:
                if pressed():
                    raise KeyboardInterrupt
                on_tick()

            return self._awaited(work, None, tick)

    def _awaited(
        self,
        work: Coroutine[Any, Any, T],
        timeout: float | None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return _wait(future, timeout, on_tick)
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin a coroutine and do not wait; what goes wrong in it shows when its object is used."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def stream(
        self, open_stream: Callable[[CancellationToken], AsyncIterator[Event]]
    ) -> Generator[Event | None, None, None]:
        """The events of a run, and None at every tick.

        The first Ctrl-C cancels the run, which then ends by itself; the second stops it from outside; the
        third raises KeyboardInterrupt. Leaving the iterator early cancels the run too.
        """
        token = CancellationToken()
        box: queue.SimpleQueue[Event | _End] = queue.SimpleQueue()

        async def pump() -> None:
            async for event in open_stream(token):
                box.put(event)

        future = asyncio.run_coroutine_threadsafe(pump(), self._loop)
        future.add_done_callback(lambda done: box.put(_End(done)))
        try:
            with _interrupts(token, future) as interrupt, self.watch() as pressed:
                for item in _drain(box):
                    if pressed():
                        interrupt()
                    yield item
        finally:
            token.cancel()
            _settle(future)

    def close(self) -> None:
        """Stop the loop; coroutines that still wait are abandoned."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            self._loop.close()


class _End:
    def __init__(self, future: "Future[None]") -> None:
        self.future = future


def _drain(box: "queue.SimpleQueue[Event | _End]") -> Iterator[Event | None]:
    ticked = time.monotonic()
    while True:
        try:
            item = box.get(timeout=TICK)
        except queue.Empty:
            item = None
        now = time.monotonic()
        # The clock goes on where events come one after the other, too.
        if item is None or now - ticked >= TICK:
            ticked = now
            yield None
        if item is None:
            continue
        if isinstance(item, _End):
            if item.future.cancelled():
                raise KeyboardInterrupt
            item.future.result()
            return
        yield item


def _wait(future: "Future[T]", timeout: float | None, on_tick: Callable[[], None] = lambda: None) -> T:
    # In slices, because a wait without a limit cannot be interrupted on every platform.
    waited = 0.0
    while True:
        try:
            return future.result(TICK)
        except TimeoutError:
            if future.done():
                raise
            waited += TICK
            if timeout is not None and waited >= timeout:
                raise
        on_tick()


def _settle(future: "Future[None]") -> None:
    try:
        _wait(future, PATIENCE)
    except TimeoutError:
        future.cancel()
    except (Exception, CancelledError):  # noqa: S110 (it was raised where the events were read)
        pass


@contextmanager
def _interrupts(token: CancellationToken, future: "Future[None]") -> Iterator[Callable[[], None]]:
    """Ctrl-C stops the run, the harder the oftener; so does what this gives."""
    presses = 0

    def interrupt() -> None:
        nonlocal presses
        presses += 1
        if presses >= _HARD_PRESSES:
            raise KeyboardInterrupt
        token.cancel()
        if presses > 1:
            future.cancel()

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        interrupt()

    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)


def load(make: Callable[[], T], on_tick: Callable[[], None] = lambda: None) -> T:
    """What ``make`` returns, made on a daemon thread: Ctrl-C gets through even while it sits in C code."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(make())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="arriero-load", daemon=True).start()
    while True:
        try:
            return future.result(TICK)
        except TimeoutError:
            if future.done():
                raise
            on_tick()
