"""Keys that are pressed while something runs."""

import time
from collections.abc import Iterator

import pytest
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.keys import Keys

from arriero.agent.cli.runner import Pressed
from arriero.agent.cli.terminal import Terminal
from arriero.agent.cli.typed_ahead import TypedAhead

ALONE = 0.12


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as pipe:
        yield pipe


@pytest.fixture
def ahead(keys: PipeInput, monochrome: Terminal) -> TypedAhead:
    return TypedAhead(keys, monochrome)


def asked(pressed: Pressed, seconds: float = 3 * ALONE) -> int:
    """How often Escape was pressed within the time."""
    end, times = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        times += pressed()
        time.sleep(0.01)
    return times


def kept(keys: PipeInput) -> list[str]:
    return [str(getattr(key.key, "value", key.key)) for key in get_typeahead(keys)]


def test_escape_alone_stops_and_is_not_typed(ahead: TypedAhead, keys: PipeInput) -> None:
    with ahead.watched() as pressed:
        assert asked(pressed, 0.05) == 0
        keys.send_text("\x1b")
        assert asked(pressed) == 1
        keys.send_text("\x1b")
        assert asked(pressed) == 1
    assert kept(keys) == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("next\r", ["n", "e", "x", "t", "c-m"]),
        ("\x1b\r", ["escape", "c-m"]),
        ("\x1b[A", ["up"]),
        ("\x1bOP", ["f1"]),
        ("\x1bb", ["escape", "b"]),
        ("é漢", ["é", "漢"]),
        ("\x04", ["c-d"]),
        ("\x1b[5;9R", []),
    ],
)
def test_all_other_keys_are_kept_and_stop_nothing(
    typed: str, expected: list[str], ahead: TypedAhead, keys: PipeInput
) -> None:
    with ahead.watched() as pressed:
        keys.send_text(typed)
        assert asked(pressed) == 0
    assert kept(keys) == expected


def test_a_key_whose_bytes_come_apart_stops_nothing(ahead: TypedAhead, keys: PipeInput) -> None:
    with ahead.watched() as pressed:
        for byte in "\x1b[A":
            keys.send_text(byte)
            assert asked(pressed, 0.04) == 0
        assert asked(pressed) == 0
    assert kept(keys) == ["up"]


def test_a_paste_is_kept_as_one_and_nothing_in_it_stops_anything(ahead: TypedAhead, keys: PipeInput) -> None:
    with ahead.watched() as pressed:
        keys.send_text("\x1b[200~one\n\x1b[31mtwo\x1b")
        assert asked(pressed) == 0
        keys.send_text("\x1b[201~")
        assert asked(pressed) == 0
    (paste,) = get_typeahead(keys)
    assert (paste.key, paste.data) == (Keys.BracketedPaste, "one\n\x1b[31mtwo\x1b")


def test_what_was_pressed_at_the_very_end_is_kept_but_for_escape(ahead: TypedAhead, keys: PipeInput) -> None:
    with ahead.watched():
        keys.send_text("a\x1b")
    with ahead.watched() as pressed:
        keys.send_text("b")
        assert asked(pressed) == 0
    assert kept(keys) == ["a", "b"]


def test_the_terminal_marks_pastes_meanwhile(ahead: TypedAhead, monochrome: Terminal) -> None:
    with ahead.watched():
        assert monochrome.stream.getvalue() == "\x1b[?2004h"  # type: ignore[attr-defined]
    assert monochrome.stream.getvalue() == "\x1b[?2004h\x1b[?2004l"  # type: ignore[attr-defined]


def test_input_that_has_ended_stops_nothing(ahead: TypedAhead, keys: PipeInput) -> None:
    with ahead.watched() as pressed:
        keys.close()
        assert asked(pressed) == 0
