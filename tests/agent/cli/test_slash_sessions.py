"""Slash commands for sessions: what is listed, named, gone on with, branched, exported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arriero.agent.cli.chat import Chat
from arriero.agent.cli.session import Session
from arriero.tools import tool

Start = Callable[..., Chat]


def entered(chat: Chat, line: str) -> str:
    """What one entry adds to the screen, as one line."""
    stream: Any = chat.terminal.stream
    before = len(stream.getvalue())
    assert chat.take(line)
    return " ".join(str(stream.getvalue()[before:]).replace("\r\x1b[2K", "").split())


def asked(chat: Chat) -> list[str]:
    return [m.content for m in chat.session.conversation.messages if m.role == "user"]


def test_sessions_are_listed_named_and_gone_on_with(chat: Start) -> None:
    one = chat("Hello Ana.", "Oats.", "Still Ana.")
    assert "no sessions yet" in entered(one, "/sessions")
    entered(one, "I am Ana")
    assert "called ana; arriero --session ana goes on" in entered(one, "/save ana")
    assert "a new session" in entered(one, "/reset")
    entered(one, "What do llamas eat?")
    listed = entered(one, "/sessions")
    assert "ana" in listed
    assert "What do llamas eat?" in listed
    assert "I am Ana" in entered(one, "/sessions Ana")
    assert "no session holds these words" in entered(one, "/sessions nonsense")

    shown = entered(one, "/resume ana")
    assert "› I am Ana Hello Ana." in shown
    entered(one, "Who am I?")
    assert asked(one) == ["I am Ana", "Who am I?"]


def test_a_session_that_is_not_there_or_is_here_changes_nothing(chat: Start) -> None:
    one = chat("Hello.")
    entered(one, "Hi")
    here = one.session.conversation
    assert "error:" in entered(one, "/resume nonsense")
    entered(one, f"/resume {here.id[:8]}")
    assert one.session.conversation is here


def test_a_session_that_somebody_else_has_is_refused_and_the_own_goes_on(
    chat: Start, session: Callable[..., Session]
) -> None:
    other = chat("Hello.", session="theirs")
    entered(other, "Hi")
    one = chat("Mine.", "Mine still.")
    entered(one, "Hi")
    assert "error:" in entered(one, "/resume theirs")
    assert "Mine still." in entered(one, "And?")


def test_a_fork_goes_on_by_itself(chat: Start) -> None:
    one = chat("Hello.", "Yes.")
    assert "error:" in entered(one, "/fork early")
    entered(one, "Hi")
    origin = one.session.conversation.id
    assert "this is now branch" in entered(one, "/fork branch")
    entered(one, "More?")
    assert asked(one) == ["Hi", "More?"]
    assert [m.content for m in one.session.open_journal.conversation(origin).messages][-1] == "Hello."


def test_what_is_taken_back_is_taken_back_in_the_journal(chat: Start) -> None:
    one = chat("A.", "B.", "C.")
    for question in ("a", "b", "c"):
        entered(one, question)
    assert "took back: c took back: b" in entered(one, "/undo 2")
    kept = one.session.open_journal.conversation(one.session.conversation.id)
    assert [m.content for m in kept.messages if m.role == "user"] == ["a"]
    assert "write how many" in entered(one, "/undo x")
    entered(one, "/clear")
    assert one.session.open_journal.conversation(one.session.conversation.id).messages == []


@pytest.mark.parametrize("line", ["/export md talk.md", "/export talk.md"])
def test_a_session_is_exported_and_no_file_replaced(
    line: str, chat: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = chat("Hello.")
    entered(one, "Hi")
    assert "saved talk.md" in entered(one, line)
    assert "Hello." in Path("talk.md").read_text()
    assert "error:" in entered(one, line)
    assert "with one of md, json" in entered(one, "/export docx")
    assert f"saved session-{one.session.conversation.id[:8]}.ipynb" in entered(one, "/export ipynb")


@pytest.mark.parametrize("line", ["/sessions", "/save x", "/resume x", "/fork", "/export md"])
def test_without_a_journal_each_says_so(line: str, chat: Start) -> None:
    assert "leave --no-journal out" in entered(chat("x", journal=False), line)


def test_outputs_of_tools_make_room(chat: Start) -> None:
    @tool
    def read(page: int) -> str:
        """Read a page."""
        return f"page {page}: " + "words and words " * 100

    call = '{"name": "read", "parameters": {"page": %d}}<|eom_id|>'
    one = chat(call % 1, "Read.", call % 2, "Read too.", "Done.")
    one.session.tools["read"] = read
    one.session.renew()
    assert "no output of a tool" in entered(one, "/compact")
    entered(one, "Read page 1")
    entered(one, "Read page 2")
    before = len(one.session.conversation.tokens)
    assert "taken out of the context: 1 outputs of tools" in entered(one, "/compact")
    assert len(one.session.conversation.tokens) < before - 200
    assert "Done." in entered(one, "And?")
    results = [m.content for m in one.session.conversation.messages if m.role == "ipython"]
    assert [len(content) > 1000 for content in results] == [False, True]
    kept = one.session.open_journal.conversation(one.session.conversation.id)
    assert kept.tokens == one.session.conversation.tokens


def test_what_waits_for_a_decision_is_gone_on_with(chat: Start) -> None:
    one = chat("Half an answer.")
    assert "nothing unfinished" in entered(one, "/continue")
    entered(one, "Hi")
    one.session.conversation.messages.pop()
    one.session.conversation.open = True
    assert one.session.conversation.unfinished
    one.show_where_it_stands()
    assert "/continue goes on" in str(one.terminal.stream.getvalue())  # type: ignore[attr-defined]
