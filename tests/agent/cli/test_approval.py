"""Asking a person about calls: what is shown, which keys decide, and what happens where nobody can be asked."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from arriero.agent.approval import Answer, Refused
from arriero.agent.cli.approval import Approver
from arriero.agent.cli.keys import ReadKey
from arriero.agent.cli.session import Session
from arriero.agent.cli.terminal import Terminal
from arriero.agent.events import RunFinished
from arriero.tools import tool

CALL = '{"name": "pay", "parameters": {"amount": %d}}<|eom_id|>'
WAIT = 10.0


def keys(*pressed: str) -> ReadKey:
    """Presses one after the other; Ctrl-C and the end of input are names of exceptions."""
    left = list(pressed)

    def read(seconds: float) -> str:
        key = left.pop(0)
        if key == "Ctrl-C":
            raise KeyboardInterrupt
        if key == "end":
            raise EOFError
        return key

    return read


def decide(approver: Approver, read_key: ReadKey, name: str = "pay", **arguments: Any) -> Answer:
    """One call that waits in another thread's loop while this thread asks."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(approver(name, arguments))))
    thread.start()
    while thread.is_alive():
        approver.attend(read_key)
        thread.join(0.01)
    return answers[0]


@pytest.fixture
def approver(monochrome: Terminal) -> Approver:
    one = Approver()
    one.terminal = monochrome
    return one


@pytest.mark.parametrize(
    ("pressed", "decision"),
    [
        (["y"], True),
        (["y\r"], True),
        (["n"], False),
        (["", "x", "n"], False),
        (["\x1b[A", "\x1bOa", "yes", "A", "n"], False),
        (["Ctrl-C"], None),
        (["end"], None),
        (["t", "to", "p\x7f", "o", "\x1b[C", " dear\x07\r"], Refused("too dear")),
        (["t", "no", "\x1b", "y"], True),
        (["t", "\r", "n"], False),
    ],
)
def test_keys(approver: Approver, pressed: list[str], decision: Answer) -> None:
    assert decide(approver, keys(*pressed), amount=5) == decision


def test_always_holds_for_that_tool(approver: Approver) -> None:
    assert decide(approver, keys("a"), amount=5) is True
    assert decide(approver, keys(), amount=6) is True


def test_never_holds_for_that_tool_and_the_model_is_told(approver: Approver) -> None:
    refused = decide(approver, keys("v"), amount=5)
    assert refused == Refused("pay is not to be called in this conversation")
    assert decide(approver, keys(), amount=6) == refused


def test_exactly_this_call_holds_for_no_other(approver: Approver) -> None:
    assert decide(approver, keys("e"), amount=5) is True
    assert decide(approver, keys(), amount=5) is True
    assert decide(approver, keys("n"), amount=50) is False
    assert approver.remembered == ["pay(amount=5): always"]
    approver.forget()
    assert decide(approver, keys("n"), amount=5) is False


def test_a_screen_asks_about_a_text_each_time(approver: Approver) -> None:
    found = {"screen": "patterns", "reason": "an address", "text": "http://x"}
    for _ in range(2):
        assert decide(approver, keys("a", "y"), "screen:tool_result", **found) is True
    assert approver.remembered == []
    shown = str(approver.terminal.stream.getvalue())  # type: ignore[union-attr, attr-defined]
    assert "patterns objects: an address. May it pass all the same?\n  http://x" in shown


def test_what_is_shown_steers_no_terminal(approver: Approver) -> None:
    @tool
    def pay(text: str) -> None:
        """Pay somebody."""

    approver.find = lambda name: pay
    decide(approver, keys("w", "n"), text="\x1b[2Jline\n" * 30)
    assert approver.terminal is not None
    shown = str(approver.terminal.stream.getvalue())  # type: ignore[attr-defined]
    assert "may pay run?\n  text: line\n  line" in shown
    assert "+19 lines, w shows all" in shown
    assert shown.count("  line\n") > 30
    assert "pay: Pay somebody.\nThe tool asks for approval" in shown
    assert "\x1b[2J" not in shown


def test_a_run_that_ends_withdraws_its_question(approver: Approver) -> None:
    async def asked_in_vain() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(approver("pay", {}), 0.01)

    asyncio.run(asked_in_vain())
    approver.attend(keys())


def test_nobody_is_asked_without_a_terminal() -> None:
    assert asyncio.run(Approver()("pay", {})) is None


@pytest.fixture
def paying(session: Callable[..., Session]) -> Callable[..., Session]:
    """A session whose model pays 5 and then answers."""

    def start(**settings: object) -> Session:
        @tool(approval=True)
        def pay(amount: int) -> str:
            return f"paid {amount}"

        one = session(CALL % 5, "Done.", **settings)
        one.tools["pay"] = pay
        one.renew()
        return one

    return start


def finished(events: Iterator[Any]) -> RunFinished:
    (end,) = [event for event in events if isinstance(event, RunFinished)]
    return end


def test_without_a_person_the_run_ends_and_says_why(paying: Callable[..., Session]) -> None:
    end = finished(paying().ask("Pay"))
    assert end.stop_reason == "approval"
    assert "pay was not run: the call needs the user's approval" in str(end.error)


def test_approved_by_a_pattern(paying: Callable[..., Session]) -> None:
    assert finished(paying(approve=("pa*",)).ask("Pay")).output == "Done."
    assert finished(paying(approve=("pay(amount=[0-4])",)).ask("Pay")).stop_reason == "approval"
