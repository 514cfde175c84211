"""Tokens from a thread to a task: all of them, in order, and without waking for each."""

import asyncio
import threading
import time

import pytest

from arriero.agent.backends import ModelError, Token
from arriero.agent.backends.mailbox import PACE, Mailbox


def test_everything_arrives_in_order() -> None:
    async def main() -> None:
        mailbox = Mailbox()
        items = [*(Token(index, "") for index in range(500)), Token(500, "", "eot")]

        def send() -> None:
            for item in items:
                mailbox.put(item)

        thread = threading.Thread(target=send)
        thread.start()
        got = [await mailbox.get() for _ in items]
        thread.join()
        assert got == items

    asyncio.run(main())


@pytest.mark.parametrize("last", [None, ModelError("x"), Token(3, "", "eot")])
def test_an_end_wakes_at_once(last: Token | ModelError | None) -> None:
    async def main() -> float:
        mailbox = Mailbox()
        await fast(mailbox)
        waiting = asyncio.create_task(mailbox.get())
        await asyncio.sleep(0)
        begun = time.monotonic()
        mailbox.put(last)
        assert (await asyncio.wait_for(waiting, 5)) is last
        return time.monotonic() - begun

    assert min(asyncio.run(main()) for _ in range(5)) < PACE / 2


async def fast(mailbox: Mailbox) -> None:
    """Let two tokens come so close to each other that the mailbox looks for more by itself."""
    for index in range(2):
        waiting = asyncio.create_task(mailbox.get())
        await asyncio.sleep(0)
        mailbox.put(Token(index, ""))
        assert (await asyncio.wait_for(waiting, 5)) == Token(index, "")


class Counted(asyncio.SelectorEventLoop):
    """An event loop that counts how often another thread wakes it."""

    wakes = 0

    def call_soon_threadsafe(self, *args: object, **kwargs: object) -> asyncio.Handle:
        self.wakes += 1
        return super().call_soon_threadsafe(*args, **kwargs)  # type: ignore[arg-type]


def test_fast_tokens_wake_nobody_and_none_waits_for_those_that_follow() -> None:
    async def main() -> None:
        mailbox = Mailbox()
        await fast(mailbox)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Counted)
        before = loop.wakes
        for index in range(100):
            waiting = asyncio.create_task(mailbox.get())
            await asyncio.sleep(0)
            mailbox.put(Token(index, ""))  # and none after it
            assert (await asyncio.wait_for(waiting, 5)) == Token(index, "")
        assert (
            loop.wakes < before + 50
        )  # a machine that stands still in between makes it wait as for a slow model

    with asyncio.Runner(loop_factory=Counted) as runner:
        runner.run(main())


def test_slow_tokens_wake_at_once_each() -> None:
    async def main() -> None:
        mailbox = Mailbox()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Counted)
        for index in range(5):
            waiting = asyncio.create_task(mailbox.get())
            await asyncio.sleep(1.5 * PACE)
            before = loop.wakes
            mailbox.put(Token(index, ""))
            assert (await asyncio.wait_for(waiting, 5)) == Token(index, "")
            assert loop.wakes == before + 1

    with asyncio.Runner(loop_factory=Counted) as runner:
        runner.run(main())


def test_waiting_can_be_broken_off_and_begun_again() -> None:
    async def main() -> None:
        mailbox = Mailbox()
        for ready in (False, True):
            if ready:
                await fast(mailbox)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(mailbox.get(), 0.001)
            mailbox.put(Token(7, ""))
            assert (await asyncio.wait_for(mailbox.get(), 5)) == Token(7, "")

    asyncio.run(main())


def test_a_closed_loop_is_told() -> None:
    async def make() -> Mailbox:
        return Mailbox()

    mailbox = asyncio.run(make())
    for item in (None, Token(1, "")):
        with pytest.raises(RuntimeError, match="closed"):
            mailbox.put(item)
