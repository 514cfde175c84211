"""What the doctor looks at: what is ill, how ill, and what mends it."""

import io
from pathlib import Path

import pytest

from arriero.agent.cli import checks
from arriero.agent.cli.settings import Settings
from arriero.agent.cli.terminal import Terminal

NOWHERE = Terminal(io.StringIO(), False, False, True)


def test_the_build_is_compared_with_the_processor() -> None:
    found = list(checks.build(Settings(), NOWHERE))
    assert {one.check for one in found} == {"llama.cpp", "GPU"}
    assert all(one.fix for one in found if one.state in ("poor", "broken"))
    assert list(checks.build(Settings(model="script:x"), NOWHERE)) == []
    assert list(checks.build(Settings(model="http://localhost:1"), NOWHERE)) == []


def test_free_memory_is_known_on_linux() -> None:
    free = checks.free_memory()
    assert free is not None
    assert 0 < free < 2**50


def test_weights_larger_than_the_free_memory_are_said_before_they_are_loaded(tmp_path: Path) -> None:
    large = tmp_path / "large.gguf"
    with large.open("wb") as file:
        file.truncate(2**43)  # takes no room on the disk
    tight, broken = checks.model(Settings(model=str(large)), NOWHERE)
    assert (tight.check, tight.state) == ("memory", "poor")
    assert "8796.1 GB" in tight.line
    assert "smaller" in tight.fix
    assert (broken.check, broken.state) == ("model", "broken")


def test_a_journal_that_cannot_be_read_is_broken(tmp_path: Path) -> None:
    (one,) = checks.journal(Settings(), NOWHERE)
    assert one.state == "good"
    (tmp_path / "home" / "journal.db").write_text("not a database, and long enough to be looked at" * 50)
    (one,) = checks.journal(Settings(), NOWHERE)
    assert one.state == "broken"
    assert "--no-journal" in one.fix
    assert list(checks.journal(Settings(journal=False), NOWHERE)) == []


def test_python_is_only_tried_where_it_is_offered() -> None:
    assert list(checks.python(Settings(tools=()), NOWHERE)) == []


def test_python_answers_or_it_is_said_why_not() -> None:
    found = list(checks.python(Settings(), NOWHERE))
    if found[0].state == "broken":
        pytest.skip("no level of the sandbox works here")
    assert (found[-1].check, found[-1].state) == ("kernel", "good")
    assert not [one.line for one in found if "WITHOUT" in one.line]
