"""Cancellation: from threads, through parents, without touching what is not waiting."""

import asyncio
import threading

import pytest

from arriero.agent.cancellation import CancellationToken, RunCancelled, Waits


async def _forever() -> None:
    await asyncio.Event().wait()


def test_a_cancelled_token_interrupts_what_waits_under_it() -> None:
    async def main() -> None:
        token = CancellationToken()
        threading.Timer(0.02, token.cancel).start()
        with pytest.raises(RunCancelled):
            await token.guard(_forever())
        await asyncio.sleep(0)  # the task itself is not left cancelled

    asyncio.run(asyncio.wait_for(main(), 5))


def test_a_token_cancelled_before_raises_at_the_next_wait() -> None:
    async def main() -> None:
        token = CancellationToken()
        token.cancel()
        with pytest.raises(RunCancelled):
            await token.guard(_forever())

    asyncio.run(asyncio.wait_for(main(), 5))


def test_a_parent_stops_its_children_with_its_reason_and_not_the_other_way_round() -> None:
    parent = CancellationToken()
    child = CancellationToken(parent)
    other = CancellationToken(parent)
    child.cancel("own")
    assert parent.reason is None
    parent.cancel("outer")
    assert (child.reason, other.reason) == ("own", "outer")


def test_a_detached_child_no_longer_hears_its_parent() -> None:
    parent = CancellationToken()
    child = CancellationToken(parent)
    child.detach()
    parent.cancel()
    assert child.reason is None


def test_a_cancel_from_outside_asyncio_passes_through_as_itself() -> None:
    async def main() -> None:
        token = CancellationToken()
        task = asyncio.create_task(token.guard(_forever()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), 5))


def test_a_late_cancel_does_not_hit_the_code_after_the_wait() -> None:
    async def main() -> str:
        token = CancellationToken()
        await token.guard(asyncio.sleep(0))
        token.cancel()
        await asyncio.sleep(0.01)
        return "untouched"

    assert asyncio.run(asyncio.wait_for(main(), 5)) == "untouched"


def test_a_cancel_between_two_waits_is_raised_at_the_next_and_hits_nothing_else() -> None:
    async def main() -> list[str]:
        token, done = CancellationToken(), []
        with Waits(token) as waits:
            await waits.on(asyncio.sleep(0))
            token.cancel()
            await asyncio.sleep(0.01)
            done.append("untouched")
            with pytest.raises(RunCancelled):
                await waits.on(_forever())
        await asyncio.sleep(0)
        return done

    assert asyncio.run(asyncio.wait_for(main(), 5)) == ["untouched"]


def test_a_cancel_from_another_thread_interrupts_one_of_many_waits_once() -> None:
    async def main() -> int:
        token, waited = CancellationToken(), 0
        threading.Timer(0.02, lambda: [token.cancel(), token.cancel()]).start()
        with Waits(token) as waits:
            try:
                while True:
                    await waits.on(asyncio.sleep(0.001))
                    waited += 1
            except RunCancelled:
                pass
        await asyncio.sleep(0.01)  # nothing is left that could still cancel the task
        return waited

    assert asyncio.run(asyncio.wait_for(main(), 5)) > 0
