"""What is written by programs is not stale: the page of the commands, the picture and the recording."""

import importlib.util
import json
import re
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pyte
import pytest

DOCS = Path(__file__).parent.parent / "docs"
SCREENS = DOCS / "screens"
MOST = 150_000  # bytes


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def writer() -> ModuleType:
    return loaded("write_commands")


def test_the_page_is_not_stale(writer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    written = writer.PAGE.read_text(encoding="utf-8")
    if f"<!-- {writer.formatted_by()} -->" not in written:
        pytest.skip("another version of click lays the texts out")
    monkeypatch.setenv("COLUMNS", "40")
    assert writer.page() == written, "run: python docs/write_commands.py"


def test_every_command_and_entry_is_on_the_page(writer: ModuleType) -> None:
    written = writer.page()
    for word in (
        "## arriero sessions export",
        "## arriero doctor",
        "--continue",
        "`/resume [SESSION]`",
        "| 130 |",
    ):
        assert word in written
    assert "## arriero ask" not in written


def test_files_that_the_commands_name_are_there(writer: ModuleType) -> None:
    named = set(re.findall(r"(?:examples|docs)/[\w/]+\.\w+", writer.page()))
    assert named
    assert [name for name in named if not (DOCS.parent / name).exists()] == []


def test_the_recording_plays_the_conversation_of_the_picture() -> None:
    head, *events = [json.loads(line) for line in (SCREENS / "conversation.cast").read_text().splitlines()]
    assert head["version"] == 2
    assert [moment for moment, _, _ in events] == sorted(moment for moment, _, _ in events)
    screens = loaded("write_screens")
    screen = screens.blank()
    stream = pyte.Stream(screen)
    for _, kind, text in events:
        assert kind == "o"
        stream.feed(text)
    shown = "\n".join(screen.display)
    assert "› What is 23 * 47?" in shown
    assert "│ 1081" in shown
    picture = (SCREENS / "conversation.svg").read_text()
    assert screens.picture(screen) == picture or f"<!-- rich {version('rich')} -->" not in picture


@pytest.mark.parametrize("path", sorted(SCREENS.iterdir()), ids=lambda path: path.name)
def test_a_screen_is_small_and_loads_nothing_from_elsewhere(path: Path) -> None:
    assert path.stat().st_size < MOST
    if path.suffix == ".svg":
        assert not re.search(r"@font-face|<script|url\((?!#)|href=", path.read_text())
