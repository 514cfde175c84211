"""Files that come with a question."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.agent.cli.attachments import (
    AttachmentError,
    echo,
    mistaken_in,
    named_in,
    read,
    weigh,
    with_attachments,
)
from arriero.agent.cli.chat import Chat
from arriero.agent.cli.session import Session
from arriero.agent.cli.terminal import Terminal
from arriero.agent.files import fenced

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "notes.txt").write_text("alpha\n")
    (tmp_path / "two words.md").write_text("beta")
    (tmp_path / "dot.png").write_bytes(PNG)
    (tmp_path / "data.bin").write_bytes(b"\xff\x00")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("sum up @notes.txt", ["notes.txt"]),
        ("is it (in @notes.txt)?", ["notes.txt"]),
        ("@notes.txt, @notes.txt and @data.bin.", ["notes.txt", "data.bin"]),
        ('what is in @"two words.md"?', ["two words.md"]),
        ("mail me@notes.txt", []),
        ("ask @somebody about @/ and @", []),
        ("@nul\0byte @~nobody-here/x @" + "x" * 5000, []),
    ],
)
def test_only_words_that_name_a_file_do(here: Path, question: str, expected: list[str]) -> None:
    assert named_in(question) == [Path(name) for name in expected]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("sum up @note.txt, please", ["note.txt"]),
        ("@/no/where and @~/x and @./y and @../z", ["/no/where", "~/x", "./y", "../z"]),
        ("sum up @notes.txt", []),
        ("ask @somebody about @/ and @, or me@x.txt", []),
    ],
)
def test_words_that_were_meant_as_files_are_told(here: Path, question: str, expected: list[str]) -> None:
    assert mistaken_in(question) == expected


def test_text_comes_before_the_question(here: Path) -> None:
    files = read([Path("notes.txt"), Path("two words.md")])
    assert with_attachments("Why?", files, python=False) == (
        "File notes.txt:\n```\nalpha\n```\n\nFile two words.md:\n```\nbeta\n```\n\nWhy?"
    )


def test_without_files_the_question_stays_as_it_is() -> None:
    assert with_attachments("Why?", [], python=True) == "Why?"


@given(st.text(alphabet="`a\n", max_size=30))
def test_no_text_closes_its_fence(text: str) -> None:
    first, *inside, last = fenced(text).split("\n")
    assert first == last
    assert set(first) == {"`"}
    assert not any(line.startswith(first) for line in inside)


def test_files_without_text_go_to_python_only(here: Path) -> None:
    files = read([Path("dot.png"), Path("data.bin")])
    text = with_attachments("Why?", files, python=True)
    assert "dot.png is a picture, which cannot be shown to you, 28 bytes, in Python's working folder." in text
    assert "data.bin is a file that is no text" in text
    assert echo(files, len, 100)[0].line == "attached dot.png: 28 bytes, for Python only"


@pytest.mark.parametrize(("name", "why"), [("dot.png", "reads text only"), ("data.bin", "is no text")])
def test_without_python_they_are_refused(here: Path, name: str, why: str) -> None:
    with pytest.raises(AttachmentError, match=why):
        with_attachments("Why?", read([Path(name)]), python=False)


@pytest.mark.parametrize(("name", "why"), [("nowhere.txt", "there is no file"), (".", "is no file")])
def test_what_cannot_be_read_is_named(here: Path, name: str, why: str) -> None:
    with pytest.raises(AttachmentError, match=why):
        read([Path(name)])


def test_too_large_a_file_is_refused_before_it_is_read(here: Path) -> None:
    with Path("sparse").open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(AttachmentError, match="more than 64 MiB"):
        read([Path("sparse")])


def test_two_files_of_one_name_get_two_names(here: Path) -> None:
    Path("sub").mkdir()
    Path("sub/notes.txt").write_text("gamma")
    assert [a.name for a in read([Path("notes.txt"), Path("sub/notes.txt")])] == ["notes.txt", "notes-2.txt"]


def test_a_large_share_of_the_context_is_said(here: Path) -> None:
    files = read([Path("notes.txt")])
    assert echo(files, len, 10) == [("attached notes.txt: 6 tokens, 60% of the context", True)]
    assert echo(files, len, 1000) == [("attached notes.txt: 6 tokens", False)]
    assert weigh("a" * 300, len, 1000) == ("the question: 300 tokens, 30% of the context", True)
    assert weigh("a" * 200, len, 1000) is None
    assert weigh("a", lambda text: pytest.fail("it was counted"), 1000) is None


def test_a_file_in_a_question_reaches_the_model(
    here: Path, session: Callable[..., Session], monochrome: Terminal
) -> None:
    chat = Chat(session("It says alpha."), monochrome)
    assert chat.take("what says @notes.txt?")
    assert chat.session.conversation.messages[-2].content == (
        "File notes.txt:\n```\nalpha\n```\n\nwhat says @notes.txt?"
    )
    assert "attached notes.txt" in str(chat.terminal.stream.getvalue())  # type: ignore[attr-defined]


def test_a_picture_is_refused_and_the_conversation_goes_on(
    here: Path, session: Callable[..., Session], monochrome: Terminal
) -> None:
    chat = Chat(session("unused"), monochrome)
    assert chat.take("what shows @dot.png?")
    assert "reads text only" in " ".join(chat.terminal.stream.getvalue().split())  # type: ignore[attr-defined]
    assert chat.session.conversation.messages == []
