"""Blocking functions in threads: each has one of its own, which is used again, and gone soon."""

import asyncio
import gc
import os
import threading
import time
import weakref

import pytest

from arriero.tools.threads import end_idle_threads, in_thread

pytestmark = pytest.mark.anyio


def _me() -> tuple[threading.Thread, str]:
    thread = threading.current_thread()
    return thread, thread.name


async def test_a_thread_is_used_again_under_the_next_ones_name() -> None:
    first, name = await in_thread(_me, name="one")
    again, renamed = await in_thread(_me, name="two")
    assert again is first
    assert (name, renamed) == ("one", "two")


async def test_calls_at_one_time_have_a_thread_each() -> None:
    meeting = threading.Barrier(5, timeout=10)

    def meet() -> int:
        meeting.wait()
        return threading.get_ident()

    met = await asyncio.gather(*[in_thread(meet, name="meet") for _ in range(5)])
    assert len(set(met)) == 5


async def test_a_thread_with_nothing_to_do_ends_by_itself() -> None:
    thread, _ = await in_thread(_me, name="short")
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
    another, _ = await in_thread(_me, name="next")
    assert another is not thread


async def test_idle_threads_can_be_ended_at_once() -> None:
    before = threading.active_count()
    await asyncio.gather(*[in_thread(lambda: time.sleep(0.01), name="some") for _ in range(4)])
    end_idle_threads()
    assert threading.active_count() <= before


async def test_a_thread_that_was_given_up_on_is_not_taken_for_idle() -> None:
    go, begun = threading.Event(), asyncio.Event()
    loop, threads = asyncio.get_running_loop(), []

    def block() -> None:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(begun.set)
        go.wait(30)

    running = asyncio.create_task(in_thread(block, name="stuck"))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (stuck,) = threads
    end_idle_threads()
    assert stuck.is_alive()
    assert (await in_thread(_me, name="other"))[0] is not stuck
    go.set()
    await asyncio.to_thread(stuck.join, 5)
    assert not stuck.is_alive()


async def test_what_a_call_raises_leaves_the_thread_fit_for_the_next() -> None:
    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await in_thread(fail, name="fails")
    assert (await in_thread(_me, name="works"))[1] == "works"


async def test_an_idle_thread_holds_nothing_of_its_last_call() -> None:
    class Held:
        pass

    async def call() -> "weakref.ref[Held]":
        held = Held()
        seen = weakref.ref(held)
        assert await in_thread(lambda: held, name="holds") is held
        return seen

    seen = await call()
    await in_thread(lambda: None, name="next")
    gc.collect()
    assert seen() is None


def test_many_calls_from_several_loops() -> None:
    async def calls(start: int) -> list[int]:
        numbers = []
        for number in range(start, start + 200):
            numbers.append(await in_thread(lambda number=number: number, name="count"))  # type: ignore[misc]
            if number % 50 == 0:
                await asyncio.sleep(0.06)  # long enough for a thread to end between two calls
        return numbers

    found: dict[int, list[int]] = {}
    loops = [
        threading.Thread(target=lambda start=start: found.update({start: asyncio.run(calls(start))}))  # type: ignore[misc]
        for start in range(0, 2000, 500)
    ]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join(60)
    assert found == {start: list(range(start, start + 200)) for start in range(0, 2000, 500)}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_forked_child_starts_threads_of_its_own() -> None:
    await in_thread(lambda: None, name="parent's")
    child = os.fork()
    if not child:
        code = 1
        try:
            code = (
                0
                if asyncio.new_event_loop().run_until_complete(in_thread(lambda: 7, name="child's")) == 7
                else 2
            )
        finally:
            os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
