import io
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.agent.cli.status_line import fit
from arriero.agent.cli.terminal import NeutralStream, Terminal, forgiving, neutral


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ünïcödé 漢字 🦙\n\tend", "plain ünïcödé 漢字 🦙\n\tend"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r0m\x1b\\x", "x"),
        ("\x9b31mred", "red"),
        ("a\x1bcb", "ab"),
        ("cut \x1b[3", "cut [3"),
        ("over\rwritten", "over\nwritten"),
        ("dos\r\nlines", "dos\nlines"),
        ("back\x08space\x07\x00\x7f", "backspace"),
        ("\u202eevil\u202c \u2066x\u2069", "evil x"),
        ("\ud800", "\ufffd"),
        ("a\U000e0041b", "ab"),
    ],
)
def test_text_loses_what_steers_a_terminal(text: str, expected: str) -> None:
    assert neutral(text) == expected


@given(st.text(alphabet=st.characters(codec=None), max_size=200))
def test_nothing_dangerous_is_left_in_any_text(text: str) -> None:
    safe = neutral(text)
    assert not [c for c in safe if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    assert neutral(safe) == safe


@given(st.lists(st.sampled_from(["\x1b", "[", "31m", "]0;", "\x07", "\x9b", "x", "\x1b\\"]), max_size=30))
def test_no_way_to_cut_a_sequence_lets_it_through(pieces: list[str]) -> None:
    assert not set("".join(map(neutral, pieces))) & {"\x1b", "\x9b", "\x07"}


@given(st.integers(1, 9))
def test_text_in_pieces_loses_whole_sequences(size: int) -> None:
    text = "a\x1b[31mred\x1b[0m b\x1b]0;title\x07c\r\nd\x1bce \x9b1mf\x1b"
    stream = NeutralStream()
    shown = "".join(stream.feed(text[i : i + size]) for i in range(0, len(text), size))
    assert shown + stream.finish() == "ared bc\nde f"


def test_text_in_pieces_is_not_held_for_ever() -> None:
    stream = NeutralStream()
    shown = "".join(stream.feed(piece) for piece in ["\x1b]0;never closed", *["word "] * 200])
    assert "word word" in shown


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "plain", "expected"),
    [
        (Tty(), {"TERM": "xterm"}, False, (True, True)),
        (Tty(), {"TERM": "xterm", "NO_COLOR": "1"}, False, (True, False)),
        (Tty(), {"TERM": "xterm", "NO_COLOR": ""}, False, (True, True)),
        (Tty(), {"TERM": "dumb"}, False, (False, False)),
        (Tty(), {}, False, (False, False)),
        (Tty(), {"TERM": "xterm", "FORCE_COLOR": "1"}, True, (False, False)),
        (io.StringIO(), {"TERM": "xterm"}, False, (False, False)),
        (io.StringIO(), {"TERM": "xterm", "FORCE_COLOR": "1"}, False, (False, True)),
    ],
)
def test_a_terminal_is_judged_by_stream_and_environment(
    stream: Any, environ: dict[str, str], plain: bool, expected: tuple[bool, bool]
) -> None:
    terminal = Terminal.detect(stream, plain=plain, environ=environ)
    assert (terminal.interactive, terminal.colour) == expected


def test_symbols_fall_back_where_the_encoding_is_narrow() -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert Terminal.detect(narrow, environ={}).symbol("●", "*") == "*"
    assert Terminal.detect(Tty(), environ={}).symbol("●", "*") == "●"


def test_what_an_encoding_lacks_becomes_the_nearest_letters() -> None:
    raw = io.BytesIO()
    narrow = io.TextIOWrapper(raw, encoding="ascii")
    forgiving(narrow)
    narrow.write("café… · 2×3 “x” 漢 plain")
    narrow.flush()
    assert raw.getvalue() == b'cafe... - 2x3 "x" ? plain'


@pytest.mark.parametrize(("columns", "expected"), [("5", 20), ("33", 33), ("nonsense", 80)])
def test_the_width_is_that_of_the_window(
    columns: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    width = Terminal(io.StringIO(), False, False, True).width
    assert width == expected or columns == "nonsense"


def test_a_line_is_cut_by_columns_and_not_by_characters() -> None:
    assert fit("abcdef", 4) == "abcd"
    assert fit("漢字漢字", 5) == "漢字"
