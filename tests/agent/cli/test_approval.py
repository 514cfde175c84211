"""Asking a person about calls: what is shown, which keys decide, and what happens where nobody can be asked."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from arriero.agent.approval import Answer, Edited, Refused
from arriero.agent.cli.approval import Approver
from arriero.agent.cli.keys import ReadKey
from arriero.agent.cli.session import Session, known_as
from arriero.agent.cli.terminal import Terminal
from arriero.agent.events import RunFinished
from arriero.tools import tool

CALL = '{"name": "pay", "parameters": {"amount": %d}}<|eom_id|>'
WAIT = 10.0


def keys(*pressed: str) -> ReadKey:
    """Presses one after the other; Ctrl-C and the end of input are names of exceptions."""
    left = list(pressed)

    def read(seconds: float) -> str:
        if not left:
            return ""
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
        (["y\r"], True),
        (["y", "\r"], True),
        (["yes\r"], True),
        ([" Y \r"], True),
        (["n\r"], False),
        (["no\n"], False),
        (["\r", "q\r", "n\r"], False),
        (["/context\r", "n\r"], False),
        (["\x1b[A", "\x1bOa", "n\r"], False),
        (["y\x7fn\r"], False),
        (["Ctrl-C"], None),
        (["end"], None),
        (["\x1b"], None),
        (["half a reason", "\x1b"], None),
        (["to", "p\x7f", "o", "\x1b[C", " dear\x07\r"], Refused("too dear")),
        (["yes but not now\r"], Refused("yes but not now")),
        (["\x1b[200~pasted\nreason\x1b[201~", "\r"], Refused("pasted reason")),
    ],
)
def test_answers(approver: Approver, pressed: list[str], decision: Answer) -> None:
    assert decide(approver, keys(*pressed), amount=5) == decision


def test_a_letter_alone_decides_nothing(approver: Approver) -> None:
    """Whoever is typing something else when the question comes up must not run a call by it."""
    assert decide(approver, keys("why not?", "\x7f" * 8, "n\r"), amount=5) is False


def test_always_holds_for_that_tool(approver: Approver) -> None:
    assert decide(approver, keys("a\r"), amount=5) is True
    assert decide(approver, keys(), amount=6) is True


def test_never_holds_for_that_tool_and_the_model_is_told(approver: Approver) -> None:
    refused = decide(approver, keys("v\r"), amount=5)
    assert refused == Refused("pay is not to be called in this conversation")
    assert decide(approver, keys(), amount=6) == refused


def test_exactly_this_call_holds_for_no_other(approver: Approver) -> None:
    assert decide(approver, keys("x\r"), amount=5) is True
    assert decide(approver, keys(), amount=5) is True
    assert decide(approver, keys("n\r"), amount=50) is False
    assert approver.remembered == ["pay(amount=5): always"]
    approver.forget()
    assert decide(approver, keys("n\r"), amount=5) is False


def test_a_screen_asks_about_a_text_each_time(approver: Approver) -> None:
    found = {"screen": "patterns", "reason": "an address", "text": "http://x"}
    for _ in range(2):
        assert decide(approver, keys("a\r", "e\r", "x\r", "y\r"), "screen:tool_result", **found) is True
    assert approver.remembered == []
    shown = screen_of(approver)
    assert "patterns objects: an address. May it pass all the same?\n  http://x" in shown
    assert "e edits" not in shown


def screen_of(approver: Approver) -> str:
    assert approver.terminal is not None
    return str(approver.terminal.stream.getvalue())  # type: ignore[attr-defined]


def editing(approver: Approver, *texts: str | None) -> list[tuple[str, str]]:
    """Has texts changed to these, one after the other; what was to be changed is in the list."""
    shown, left = list[tuple[str, str]](), list(texts)

    def edit(terminal: Terminal, text: str, suffix: str, wanted: Callable[[], bool]) -> str | None:
        assert terminal is approver.terminal
        assert wanted()
        shown.append((text, suffix))
        return left.pop(0)

    approver.edit_text = edit
    return shown


@tool(approval=True)
def pay(amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount}"


def test_the_call_is_edited_until_it_fits_its_tool(approver: Approver) -> None:
    approver.find = lambda name: pay
    shown = editing(approver, "{amount: 5}", '["5"]', '{"amount": "much"}', '{"amount": "6"}')
    assert decide(approver, keys("e\r"), amount=50) == Edited({"amount": 6})
    assert [text for text, _ in shown] == [
        '{\n  "amount": 50\n}',
        "{amount: 5}",
        '["5"]',
        '{"amount": "much"}',
    ]
    assert {suffix for _, suffix in shown} == {".json"}
    said = screen_of(approver)
    assert "this cannot be called: no JSON: Expecting property name" in said
    assert "arguments are written in braces" in said
    assert "'much' is not of type 'integer'" in said


@pytest.mark.parametrize("text", [None, '{"amount": 5}'])
def test_an_edit_that_changes_nothing_asks_again(text: str | None, approver: Approver) -> None:
    approver.find = lambda name: pay
    editing(approver, text)
    assert decide(approver, keys("edit\r", "n\r"), amount=5) is False


def test_code_is_edited_as_code_and_a_query_as_it_is(approver: Approver) -> None:
    shown = editing(approver, "print(2)", "llamas")
    edited = decide(approver, keys("e\r"), "code_interpreter", code="print(1)")
    assert edited == Edited({"code": "print(2)"})
    assert decide(approver, keys("e\r"), "brave_search", query="mules") == Edited({"query": "llamas"})
    assert shown == [("print(1)", ".py"), ("mules", ".txt")]


def test_what_a_screen_has_against_a_call_can_be_edited_out(approver: Approver) -> None:
    approver.find = lambda name: pay
    editing(approver, '{"amount": 6}')
    found = {"screen": "provenance", "reason": "a copy", "text": "pay(amount=5)", "tool": "pay"}
    edited = decide(approver, keys("a\r", "e\r"), "screen:tool_call", arguments={"amount": 5}, **found)
    assert edited == Edited({"amount": 6})
    assert "provenance objects: a copy. May pay run all the same?" in screen_of(approver)


def test_what_is_shown_steers_no_terminal(approver: Approver) -> None:
    @tool
    def pay(text: str) -> None:
        """Pay somebody."""

    approver.find = lambda name: pay
    decide(approver, keys("?\r", "n\r"), text="\x1b[2Jline\n" * 30)
    shown = screen_of(approver)
    assert "may pay run?\n  text: line\n  line" in shown
    assert "\n  and 120 characters that cannot be seen\n" in shown
    assert "+18 lines, ? shows all" in shown
    assert shown.count("  line\n") > 30
    assert "pay: Pay somebody.\nThe tool asks for approval" in shown
    assert "x runs exactly this call from now on unasked, v refuses all calls of this tool" in " ".join(
        shown.split()
    )
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


def test_denied_and_asked_about_by_a_pattern(paying: Callable[..., Session]) -> None:
    assert finished(paying(approve=("pay",), ask=("pay(amount=5)",)).ask("Pay")).stop_reason == "approval"
    denied = finished(paying(approve=("pay",), ask=("pay",), deny=("pay(*5)",)).ask("Pay"))
    assert denied.output == "Done."
    told = [message.content for message in denied.new_messages if message.role == "ipython"]
    assert told == ["Error: pay was not run: the user did not allow this call."]


def test_patterns_know_tools_by_the_names_that_people_use() -> None:
    assert known_as("python") == "code_interpreter"
    assert known_as("python(code=*open*)") == "code_interpreter(code=*open*)"
    assert known_as("pay(sum=1)") == "pay(sum=1)"
