import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import DummyOutput

from arriero.agent.cli.prompt import (
    Editor,
    EntryCompleter,
    Pastes,
    PrivateHistory,
    changed,
    open_history,
)
from arriero.agent.cli.terminal import Terminal


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield keys


@pytest.fixture
def editor(keys: PipeInput, monochrome: Terminal) -> Editor:
    return Editor(monochrome, lambda: "toolbar", EntryCompleter(["help", "undo"]))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hello\r", "hello"),
        ("one\ntwo\r", "one\ntwo"),
        ("one\x1b\rtwo\r", "one\ntwo"),
        ("\x1b[200~one\r\ntwo\nthree\x1b[201~\r", "one\ntwo\nthree"),
        ("thrown away\x03kept\r", "kept"),
        ('"""one\r/two\r"""\r', '"""one\n/two\n"""'),
        ('"""one"""\r', '"""one"""'),
    ],
)
def test_keys_make_one_entry(typed: str, expected: str, keys: PipeInput, editor: Editor) -> None:
    keys.send_text(typed)
    assert editor.read() == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("/u", ["/undo"]), ("/", ["/help", "/undo"]), ("/undo x", []), ("hello", [])]
)
def test_names_of_commands_are_completed(text: str, expected: list[str]) -> None:
    found = EntryCompleter(("help", "undo")).get_completions(Document(text), CompleteEvent())
    assert [completion.text for completion in found] == expected


def test_a_space_follows_where_something_may_follow() -> None:
    completer = EntryCompleter(["undo ", "quit"])
    found = completer.get_completions(Document("/"), CompleteEvent())
    assert [completion.text for completion in found] == ["/undo ", "/quit"]


def test_what_may_follow_a_command_is_completed() -> None:
    completer = EntryCompleter(("tools",), lambda command: ("on", "off", "python"))
    found = completer.get_completions(Document("/tools off py"), CompleteEvent())
    assert [(completion.text, completion.start_position) for completion in found] == [("python", -2)]


def test_a_large_paste_is_shown_as_its_size_and_sent_whole(keys: PipeInput, editor: Editor) -> None:
    pasted = "\n".join(f"line {n}" for n in range(50))
    keys.send_text(f"\x1b[200~{pasted}\x1b[201~\r")
    assert editor.read() == pasted
    keys.send_text(f"what is\x1b[200~{pasted}\x1b[201~\r")
    assert editor.read() == f"what is\n```\n{pasted}\n```\n"
    keys.send_text(f"!\x1b[200~{'x' * 5000}\x1b[201~\r")
    assert editor.read() == f"!{'x' * 5000}"
    pastes = Pastes()
    assert pastes.shown(pasted) == "[pasted 50 lines, 1]"
    assert pastes.shown("x" * 5000) == "[pasted 5000 characters, 2]"
    assert pastes.shown(f"{pasted}\n") == "[pasted 50 lines, 3]"
    assert pastes.shown("short\r\none") == "short\none"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum up @no", ["tes.txt"]),
        ("two\nlines @no", ["tes.txt"]),
        ("/attach no", ["tes.txt"]),
        ("/undo no", []),
        ("//etc @no", ["tes.txt"]),
        ("me@no", []),
    ],
)
def test_paths_are_completed(
    text: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    completer = EntryCompleter(("undo", "attach"), with_paths=["attach"])
    found = completer.get_completions(Document(text), CompleteEvent())
    assert [completion.text for completion in found] == expected


def test_ctrl_c_and_ctrl_d_on_an_empty_line_are_told_apart(keys: PipeInput, editor: Editor) -> None:
    keys.send_text("\x03")
    with pytest.raises(KeyboardInterrupt):
        editor.read()
    keys.send_text("\x04")
    with pytest.raises(EOFError):
        editor.read()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("\x12llam\r\r", "about llamas"),
        ("\x12llam\x03other\r", "other"),
        ("\x12llam\x07other\r", "other"),
        ("about l\x1b[A\r", "about llamas"),
    ],
)
def test_earlier_entries_are_searched(typed: str, expected: str, keys: PipeInput, editor: Editor) -> None:
    for entry in ("about llamas", "about mules"):
        keys.send_text(f"{entry}\r")
        editor.read()
    keys.send_text(typed)
    assert editor.read() == expected


def test_history_is_private_and_forgets_what_begins_with_a_space(
    tmp_path: Path, keys: PipeInput, editor: Editor
) -> None:
    keys.send_text("remembered\r")
    editor.read()
    keys.send_text(" secret\r")
    editor.read()
    keys.send_text(f"\x1b[200~{'secret ' * 1000}\x1b[201~ sum up\r")
    assert editor.read().endswith(" sum up")
    path = tmp_path / "home" / "history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "remembered" in path.read_text()
    assert "secret" not in path.read_text()
    assert list(PrivateHistory(path).load_history_strings()) == ["remembered"]


def test_history_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRIERO_NO_HISTORY", "1")
    assert isinstance(open_history(), InMemoryHistory)
    assert not (tmp_path / "home").exists()


def test_history_without_a_place_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    assert isinstance(open_history(), InMemoryHistory)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("\r", "print(1)"),
        ("\x7f2)\r", "print(12)"),
        ("\x1b\rmore\r", "print(1)\nmore"),
        ("\x1b[200~a\r\nb\x1b[201~\r", "print(1)a\nb"),
        ("\x03", None),
        ("\x15\x04", None),  # the line is empty then
    ],
)
def test_a_text_is_changed(typed: str, expected: str | None, keys: PipeInput, monochrome: Terminal) -> None:
    keys.send_text(typed)
    assert changed(monochrome, "print(1)", ".py", lambda: True) == expected


def test_what_was_typed_before_a_text_was_seen_does_not_change_it(
    keys: PipeInput, monochrome: Terminal
) -> None:
    store_typeahead(keys, [KeyPress("x", "x"), KeyPress(Keys.ControlM, "\r")])
    keys.send_text("!\r")
    assert changed(monochrome, "print(1)", ".py", lambda: True) == "print(1)!"
    assert [key.data for key in get_typeahead(keys)] == ["x", "\r"]


def test_a_text_that_is_of_no_use_any_more_is_let_go(keys: PipeInput, monochrome: Terminal) -> None:
    looks = iter([True, True])
    assert changed(monochrome, "print(1)", ".py", lambda: next(looks, False)) is None
