"""Pictures in the terminal: on which ones, and what a picture may do there."""

import io
import sys
from collections.abc import Mapping

import pytest

from arriero.agent.cli.pictures import HINT, Pictures, protocol_of
from arriero.agent.cli.terminal import Terminal
from arriero.agent.events import ArtifactRef


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-256color"}, "off"),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "sixel"),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, "off"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux,1,0"}, "off"),
        ({"TERM": "tmux-256color", "TMUX": "x", "ARRIERO_IMAGES": "sixel"}, "sixel"),
        ({"TERM": "xterm-kitty", "ARRIERO_IMAGES": "off"}, "off"),
        ({"TERM": "xterm-kitty", "ARRIERO_IMAGES": "path"}, "off"),
        ({"TERM": "xterm-kitty", "ARRIERO_IMAGES": "auto"}, "kitty"),
        ({"TERM": "xterm-kitty", "ARRIERO_IMAGES": "nonsense"}, "kitty"),
    ],
)
def test_terminals_are_known_by_what_they_say(
    environ: Mapping[str, str], expected: str, monochrome: Terminal
) -> None:
    assert protocol_of(monochrome, environ) == expected
    assert protocol_of(Terminal(io.StringIO(), False, False, True), environ) == "off"


def test_nothing_is_shown_where_stdout_is_no_terminal(monochrome: Terminal) -> None:
    assert sys.__stdout__ is None or not sys.__stdout__.isatty()
    pictures = Pictures(monochrome, {"TERM": "xterm-kitty"})
    assert (pictures.protocol, pictures.hint) == ("off", "")
    assert not pictures.show(ArtifactRef(name="fig.png", mime="image/png", data=b"\x89PNG"))
    assert "arriero[images]" in HINT
