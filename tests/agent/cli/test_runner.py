import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from arriero.agent.cancellation import CancellationToken, RunCancelled
from arriero.agent.cli.runner import Runner, load
from arriero.agent.events import Event, RunFinished, RunStarted, Usage


def started(seq: int = 1) -> RunStarted:
    return RunStarted(run_id="r", seq=seq, model="m", tools=())


def cancelled() -> RunFinished:
    return RunFinished(run_id="r", seq=9, stop_reason="cancelled", output="", usage=Usage())


async def until_cancelled(token: CancellationToken) -> AsyncIterator[Event]:
    yield started()
    with contextlib.suppress(RunCancelled):
        await token.guard(asyncio.sleep(60))
    yield cancelled()


async def deaf(token: CancellationToken) -> AsyncIterator[Event]:
    yield started()
    await asyncio.sleep(60)


def press_soon(times: int = 1) -> None:
    def press() -> None:
        for _ in range(times):
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()


def test_events_arrive_in_order_with_ticks_between(runner: Runner) -> None:
    async def slow(token: CancellationToken) -> AsyncIterator[Event]:
        yield started(1)
        await asyncio.sleep(0.35)
        yield started(2)

    events = list(runner.stream(slow))
    assert [event.seq for event in events if event] == [1, 2]
    assert events.count(None) >= 1


def test_an_error_in_the_run_is_raised_where_events_are_read(runner: Runner) -> None:
    async def broken(token: CancellationToken) -> AsyncIterator[Event]:
        yield started()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(runner.stream(broken))


def test_ctrl_c_lets_the_run_end_by_itself(runner: Runner) -> None:
    press_soon()
    events = [event for event in runner.stream(until_cancelled) if event]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].stop_reason == "cancelled"


def test_a_second_ctrl_c_stops_a_run_that_does_not_listen(runner: Runner) -> None:
    before = time.monotonic()
    press_soon(2)
    with pytest.raises(KeyboardInterrupt):
        list(runner.stream(deaf))
    assert time.monotonic() - before < 10


def test_leaving_early_cancels_the_run(runner: Runner) -> None:
    tokens: list[CancellationToken] = []

    async def watched(token: CancellationToken) -> AsyncIterator[Event]:
        tokens.append(token)
        async for event in until_cancelled(token):
            yield event

    events = runner.stream(watched)
    next(events)
    events.close()
    assert tokens[0].reason is not None


def test_the_handler_of_ctrl_c_is_put_back(runner: Runner) -> None:
    before = signal.getsignal(signal.SIGINT)
    events = runner.stream(until_cancelled)
    next(events)
    assert signal.getsignal(signal.SIGINT) is not before
    events.close()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_call_gives_its_result_or_its_error(runner: Runner) -> None:
    async def six() -> int:
        return 6

    async def broken() -> None:
        raise TimeoutError("its own")

    assert runner.call(six()) == 6
    with pytest.raises(TimeoutError, match="its own"):
        runner.call(broken())


def test_a_call_ends_at_its_limit_and_at_ctrl_c(runner: Runner) -> None:
    with pytest.raises(TimeoutError):
        runner.call(asyncio.sleep(60), timeout=0.2)
    press_soon()
    with pytest.raises(KeyboardInterrupt):
        runner.call(asyncio.sleep(60))


def test_loading_ticks_and_gives_way_to_ctrl_c() -> None:
    ticks: list[None] = []
    assert load(lambda: threading.Event().wait(0.35) or 5, lambda: ticks.append(None)) == 5
    assert ticks
    press_soon()
    done = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        load(lambda: done.wait(30))
    done.set()


def test_loading_passes_errors_on() -> None:
    with pytest.raises(ZeroDivisionError):
        load(lambda: 1 // 0)


@contextlib.contextmanager
def key_after(seconds: float, times: int = 1) -> Iterator[Callable[[], bool]]:
    """A key that is pressed as often, so many seconds apart."""
    pressed = [time.monotonic() + seconds * number for number in range(1, times + 1)]

    def asked() -> bool:
        return bool(pressed) and time.monotonic() >= pressed[0] and pressed.pop(0) > 0

    yield asked


def test_a_key_stops_a_run_as_ctrl_c_does(runner: Runner) -> None:
    runner.watch = lambda: key_after(0.2)
    events = [event for event in runner.stream(until_cancelled) if event]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].stop_reason == "cancelled"
    runner.watch = lambda: key_after(0.2, 2)
    with pytest.raises(KeyboardInterrupt):
        list(runner.stream(deaf))


def test_what_is_attended_ticks_and_gives_way_to_a_key_and_to_ctrl_c(runner: Runner) -> None:
    ticks: list[None] = []

    async def six() -> int:
        await asyncio.sleep(0.35)
        return 6

    async def broken() -> None:
        raise TimeoutError("its own")

    assert runner.attend(six(), lambda: ticks.append(None)) == 6
    assert ticks
    with pytest.raises(TimeoutError, match="its own"):
        runner.attend(broken(), lambda: None)
    press_soon()
    with pytest.raises(KeyboardInterrupt):
        runner.attend(asyncio.sleep(60), lambda: None)
    runner.watch = lambda: key_after(0.2)
    with pytest.raises(KeyboardInterrupt):
        runner.attend(asyncio.sleep(60), lambda: None)


def test_the_clock_ticks_between_events_that_come_fast(runner: Runner) -> None:
    async def fast(token: CancellationToken) -> AsyncIterator[Event]:
        for number in range(40):
            yield started(number)
            await asyncio.sleep(0.01)

    events = list(runner.stream(fast))
    assert len([event for event in events if event]) == 40
    assert 2 <= events.count(None) <= 8
