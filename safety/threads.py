"""Blocking functions beside the event loop, in threads that may be abandoned."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_daemon(function: Callable[[], T], *, name: str) -> T:
    """Call ``function`` in a thread of its own and return or raise what it does.

    Cancelling leaves the thread to finish alone: it is a daemon and takes no place in a pool, so a function that
    never returns holds up neither others nor the end of the program.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type]

    def work() -> None:
        value: T | None = None
        fault: BaseException | None = None
        try:
            value = function()
        except Exception as error:
            # A future cannot carry StopIteration.
            fault = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
        except BaseException as error:  # SystemExit would end the event loop
            fault = RuntimeError(f"tried to end the program: {error!r}")
        try:
            loop.call_soon_threadsafe(settle, value, fault)
        except RuntimeError:
            return  # the loop has closed: nobody waits for an abandoned thread

    threading.Thread(target=work, name=name, daemon=True).start()
    return await future
