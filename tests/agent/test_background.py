"""The loop in a thread of its own: it starts, ends, passes on what is raised, and never waits for itself."""

import asyncio
import threading

import pytest

from arriero.agent.background import BackgroundLoop


async def _thread() -> threading.Thread:
    await asyncio.sleep(0)
    return threading.current_thread()


def test_coroutines_run_in_one_thread_that_close_ends() -> None:
    loop = BackgroundLoop()
    thread = loop.call(_thread())
    assert thread is loop.start(_thread()).result() is not threading.current_thread()
    loop.close()
    assert not thread.is_alive()


def test_what_a_coroutine_raises_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("no")

    loop = BackgroundLoop()
    with pytest.raises(ValueError, match="no"):
        loop.call(fail())
    loop.close()


def test_closing_cancels_what_still_runs() -> None:
    loop, told = BackgroundLoop(), []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("stopped")

    running = loop.start(forever())
    loop.call(_thread())
    loop.close()
    assert running.cancelled()
    assert told == ["stopped"]


def test_a_blocking_call_inside_a_blocking_call_is_refused() -> None:
    loop = BackgroundLoop()

    async def inner() -> threading.Thread:
        return loop.call(_thread())

    with pytest.raises(RuntimeError, match="await it instead"):
        loop.call(inner())
    loop.close()
