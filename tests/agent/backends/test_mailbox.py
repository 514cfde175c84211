"""Tokens from a thread to a task: all of them, in order, and without waking for each."""

import asyncio
import threading

import pytest

from arriero.agent.backends import ModelError, Token
from arriero.agent.backends.mailbox import Mailbox


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


@pytest.mark.parametrize("last", [None, ModelError("x"), Token(2, "", "eot")])
def test_an_end_wakes_at_once(last: Token | ModelError | None) -> None:
    async def main() -> None:
        mailbox = Mailbox()
        waiting = asyncio.create_task(mailbox.get())
        await asyncio.sleep(0)
        mailbox.put(Token(1, ""))
        mailbox.put(last)  # within 8 ms of the one before, which woke the task
        assert (await waiting) == Token(1, "")
        assert await asyncio.wait_for(mailbox.get(), 5) is last

    asyncio.run(main())


def test_few_wakes_for_many_tokens() -> None:
    class Loop(asyncio.SelectorEventLoop):
        wakes = 0

        def call_soon_threadsafe(self, *args: object, **kwargs: object) -> asyncio.Handle:
            Loop.wakes += 1
            return super().call_soon_threadsafe(*args, **kwargs)  # type: ignore[arg-type]

    async def main() -> None:
        mailbox = Mailbox()
        for index in range(1000):
            mailbox.put(Token(index, ""))
        assert (await mailbox.get()) == Token(0, "")

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
    assert Loop.wakes < 200


def test_a_closed_loop_is_told() -> None:
    async def make() -> Mailbox:
        return Mailbox()

    mailbox = asyncio.run(make())
    with pytest.raises(RuntimeError, match="closed"):
        mailbox.put(None)
