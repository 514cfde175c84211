"""The page of the commands says what the commands say of themselves."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

WRITER = Path(__file__).parent.parent / "docs" / "write_commands.py"


@pytest.fixture
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_commands", WRITER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_not_stale(writer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    written = writer.PAGE.read_text(encoding="utf-8")
    if f"<!-- {writer.formatted_by()} -->" not in written:
        pytest.skip("another version of click lays the texts out")
    monkeypatch.setenv("COLUMNS", "40")
    assert writer.page() == written, f"run: python {WRITER.relative_to(Path.cwd())}"


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
