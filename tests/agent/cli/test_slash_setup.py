"""Slash commands that show and change approvals and screens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arriero.agent.cli.chat import Chat
from arriero.agent.cli.repl import completer_for

Start = Callable[..., Chat]


def entered(chat: Chat, line: str) -> str:
    stream: Any = chat.terminal.stream
    before = len(stream.getvalue())
    assert chat.take(line)
    return " ".join(str(stream.getvalue()[before:]).replace("\r\x1b[2K", "").split())


def test_patterns_of_calls_that_run_unasked_are_shown_added_and_forgotten(chat: Start) -> None:
    one = chat("unused")
    assert "asked about each time" in entered(one, "/approve")
    assert "calls like pay(sum=[0-9]) run unasked" in entered(one, "/approve pay(sum=[0-9])")
    assert "pay(sum=[0-9]): runs unasked" in entered(one, "/approve")
    rules: Any = one.session.agent.approve
    assert rules.decide("pay", {"sum": 5}) == "allow"
    one.session.renew()
    rules = one.session.agent.approve
    assert rules.decide("pay", {"sum": 5}) == "allow"
    entered(one, "/approve forget")
    rules = one.session.agent.approve
    assert rules.decide("pay", {"sum": 5}) is None


def test_screens_and_what_they_objected_to_are_shown(chat: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = chat("first", safety="off")
    monkeypatch.setenv("COLUMNS", "100")
    assert one.status().endswith("tools 0 · safety off")
    monkeypatch.setenv("COLUMNS", "45")
    assert one.status().endswith("tools 0")
    assert "policy off 0 verdicts so far" in entered(one, "/safety")
    other = chat("The key is AKIA" + "IOSFODNN7EXAMPLE.", safety="default")
    entered(other, "What is the key?")
    shown = entered(other, "/safety")
    assert "policy default input" in shown
    assert "0 verdicts" not in shown


def test_instructions_are_read_from_a_file(chat: Start, tmp_path: Path) -> None:
    (tmp_path / "pirate.txt").write_text("Speak like a pirate.\n")
    one = chat("unused")
    entered(one, f"/system @{tmp_path / 'pirate.txt'}")
    assert one.session.agent.instructions == "Speak like a pirate."
    assert "error:" in entered(one, "/system @nowhere.txt")


def test_words_behind_commands_are_completed(chat: Start) -> None:
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    def completed(text: str) -> list[str]:
        found = completer.get_completions(Document(text), CompleteEvent())
        return [completion.text for completion in found]

    one = chat("Hello.", session="ana")
    completer = completer_for(one)
    assert completed("/resume a") == ["ana"]
    assert completed("/params temp") == ["temperature="]
    assert completed("/model bun") == ["bundled"]
    assert completed("/help und") == ["undo"]
    assert completed("/export ip") == ["ipynb"]
    assert completed("/tools on p") == []
    completer = completer_for(chat("x", journal=False))
    assert completed("/resume a") == []


def test_how_much_of_calls_is_shown(chat: Callable[..., Chat]) -> None:
    one = chat("x", show_tools="line")
    assert "of tool calls is shown: a line each" in entered(one, "/show-tools")
    assert "write /show-tools with one of full, line, off" in " ".join(
        entered(one, "/show-tools most").split()
    )
    assert "nothing; /last shows the last one whole" in entered(one, "/show off")
    assert one.session.settings.show_tools == "off"


def test_rules_of_every_kind_are_shown(chat: Callable[..., Chat]) -> None:
    out = entered(chat("x", approve=("a*",), ask=("python",), deny=("b",)), "/approve")
    assert out == "b: never runs python: is asked about a*: runs unasked"


def test_what_to_do_about_a_limit_is_said(chat: Callable[..., Chat]) -> None:
    one = chat("A long story that does not end.", max_tokens=2)
    out = " ".join(entered(one, "Tell me").split())
    assert "error: the answer was cut off at the limit of tokens" in out
    assert "/params max_tokens=N lets it write more" in out
