"""The loop in a thread of its own: it starts, ends, passes on what is raised, and never waits for itself."""

import asyncio
import threading

import pytest

from arriero.agent.background import BackgroundLoop


async def _name() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


def test_coroutines_run_in_one_thread_that_close_ends() -> None:
    loop = BackgroundLoop()
    assert loop.call(_name()) == loop.start(_name()).result() == "arriero-loop"
    loop.close()
    assert not any(thread.name == "arriero-loop" for thread in threading.enumerate())


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
    loop.call(_name())
    loop.close()
    assert running.cancelled()
    assert told == ["stopped"]


def test_a_blocking_call_inside_a_blocking_call_is_refused() -> None:
    loop = BackgroundLoop()

    async def inner() -> str:
        return loop.call(_name())

    with pytest.raises(RuntimeError, match="await it instead"):
        loop.call(inner())
    loop.close()
