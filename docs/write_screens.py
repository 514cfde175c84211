"""Records a conversation with the bundled model in a real terminal: a picture (SVG) and a recording (asciicast).

    python docs/write_screens.py [FOLDER]

Both go to docs/screens by default. Needs pexpect and pyte, which the tests use too. The recording plays with
``asciinema play``; its format is https://docs.asciinema.org/manual/asciicast/v2.
"""

import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pexpect
import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

_COLUMNS, _ROWS = 88, 34
_ENTRIES: Final = (
    ("What is 23 * 47?", "1081"),
    ("How many primes are below 100?", "25"),
    ("!2 ** 64", "18446744073709551616"),
    ("/context", "free"),
)
_PATIENCE: Final = 120.0  # seconds for one entry
_PAUSE: Final = 0.6  # seconds that the longest wait of the recording lasts
_KEY: Final = 0.04  # seconds between two keys
_COLOURS: Final = {"brown": "yellow", "default": None}


class _Screen(pyte.Screen):
    """A screen that shows faint text as grey, which pyte does not know, and answers what it is asked."""

    reply: Callable[[str], object] = staticmethod(lambda data: None)

    def write_process_input(self, data: str) -> None:
        self.reply(data)

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        if not private:
            super().select_graphic_rendition(*(90 if one == 2 else one for one in attributes))


def blank() -> "_Screen":
    """An empty screen of the recording's size."""
    return _Screen(_COLUMNS, _ROWS)


class Recorder:
    """A terminal in which ``arriero`` runs; keeps what it writes, and when."""

    def __init__(self, home: str) -> None:
        hidden = ("ARRIERO", "BRAVE", "TAVILY", "WOLFRAM", "SEARXNG", "COLUMNS", "LINES", "NO_COLOR", "TMUX")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        more = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "ARRIERO_HOME": home, "ARRIERO_IMAGES": "off"}
        self.screen = blank()
        self.heard: list[tuple[float, str]] = []
        self._child: Any = pexpect.spawn(
            sys.executable,
            ["-m", "arriero"],
            env={**kept, **more},
            dimensions=(_ROWS, _COLUMNS),
            encoding="utf-8",
        )
        self._child.delaybeforesend = None
        self.screen.reply = self._child.send
        self._stream: Any = pyte.Stream(self.screen)

    def wait_for(self, holds: Callable[[str], bool]) -> None:
        """Read until the screen is as wanted. Raises TimeoutError."""
        end = time.monotonic() + _PATIENCE
        while not holds("\n".join(self.screen.display)):
            if time.monotonic() > end:
                raise TimeoutError("\n".join(self.screen.display))
            try:
                data = self._child.read_nonblocking(65536, timeout=0.05)
            except pexpect.TIMEOUT:
                continue
            self.heard.append((time.monotonic(), data))
            self._stream.feed(data)

    def enter(self, line: str) -> None:
        """Type a line as a person does."""
        for key in line:
            self._child.send(key)
            time.sleep(_KEY)
            self.wait_for(lambda text: True)
        self.wait_for(lambda text: line in text)
        self._child.send("\r")

    def close(self) -> None:
        """End the conversation."""
        self._child.sendeof()
        self._child.close(force=True)


def _ready(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines) > 1 and " ctx " in lines[-1] and lines[-2].strip() == "›"


def record() -> Recorder:
    """Have the conversation, from the greeting on."""
    with tempfile.TemporaryDirectory() as home:
        first = Recorder(home)  # hints about keys are given once, and are no part of the picture
        try:
            first.wait_for(_ready)
        finally:
            first.close()
        one = Recorder(home)
        try:
            one.wait_for(_ready)
            for line, expected in _ENTRIES:
                one.enter(line)
                one.wait_for(lambda text, expected=expected: expected in text and _ready(text))  # type: ignore[misc]
        finally:
            one.close()
    return one


def cast(heard: list[tuple[float, str]]) -> str:
    """An asciicast, version 2, in which nobody waits long."""
    head = {
        "version": 2,
        "width": _COLUMNS,
        "height": _ROWS,
        "title": "arriero",
        "env": {"TERM": "xterm-256color"},
    }
    lines, now, before = [json.dumps(head)], 0.0, heard[0][0]
    for moment, text in heard:
        now += min(moment - before, _PAUSE)
        before = moment
        lines.append(json.dumps([round(now, 3), "o", text], ensure_ascii=False))
    return "\n".join(lines) + "\n"


def picture(screen: Any) -> str:
    """The screen as SVG, which loads nothing from elsewhere."""
    console = Console(
        record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text("\n").join(_rows(screen)), end="")
    drawn = console.export_svg(title="arriero", unique_id="arriero")
    drawn = re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    return f"{drawn}\n<!-- rich {version('rich')} -->\n"


def _rows(screen: Any) -> Iterator[Text]:
    for number in range(screen.lines):
        cells = [screen.buffer[number][column] for column in range(screen.columns)]
        row = Text()
        for style, alike in groupby(cells, _style):
            row.append("".join(cell.data for cell in alike), style)
        row.rstrip()
        yield row


def _style(cell: Any) -> Style:
    return Style(color=_colour(cell.fg), bold=cell.bold, italic=cell.italics, reverse=cell.reverse)


def _colour(name: str) -> str | None:
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    return _COLOURS.get(name, name.replace("bright", "bright_"))


def main(folder: Path) -> None:
    """Record, and write both files."""
    one = record()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conversation.cast").write_text(cast(one.heard), encoding="utf-8")
    (folder / "conversation.svg").write_text(picture(one.screen), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "screens")
