"""How errors are told."""

import logging
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from arriero.agent.backends import ModelError
from arriero.agent.cli.errors import FAULTS, command_for, say_error
from arriero.agent.cli.exits import NotReady
from arriero.agent.cli.invocation import finish
from arriero.agent.cli.settings import state_folder
from arriero.prompts import ArrieroError


@pytest.fixture(autouse=True)
def nothing_logged() -> None:
    FAULTS.path = None


@pytest.mark.parametrize(
    ("error", "command"),
    [
        (ModelError("it is damaged"), "arriero doctor"),
        (NotReady("no kernel"), "arriero doctor"),
        (NotReady("it is not here; get it with: arriero models pull x"), ""),
        (NotReady("nothing is kept; leave --no-journal out"), ""),
        (ModelError("no model is called lama; did you mean llama?"), ""),
        (NotReady("servers.json: No such file or directory"), ""),
        (ArrieroError("two tools of one name"), ""),
    ],
)
def test_a_command_to_try_where_the_message_names_none(
    error: ArrieroError, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_for(error) == command
    say_error(error)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"error: {error}", *([f"  try: {command}"] if command else [])]


def test_what_is_said_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say_error("a \x1b[2Jb")
    assert capsys.readouterr().err == "error: a b\n"


def fault(*, debug: bool) -> click.Command:
    @click.command()
    def command() -> None:
        finish(lambda: 1 // 0, debug=debug)

    return command


def test_a_fault_of_ours_is_a_line_and_a_log() -> None:
    result = CliRunner().invoke(fault(debug=False))
    log = state_folder() / "faults.log"
    assert result.exit_code == 1
    assert result.stderr == (
        "error: this should not have happened: ZeroDivisionError: integer division or modulo by zero\n"
        f"  log: {log}\n"
    )
    assert "finish(lambda: 1 // 0" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_with_debug_it_is_a_traceback_and_no_log() -> None:
    result = CliRunner().invoke(fault(debug=True))
    assert isinstance(result.exception, ZeroDivisionError)
    assert not (state_folder() / "faults.log").exists()


def test_where_no_log_can_be_written_debug_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    assert CliRunner().invoke(fault(debug=False)).stderr.endswith("\n  try: the same with --debug\n")


def test_the_log_begins_anew_when_it_is_large() -> None:
    log = state_folder() / "faults.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * 1_000_001)
    FAULTS.emit(logging.LogRecord("arriero", logging.ERROR, "", 0, "odd", None, None))
    assert log.read_text().endswith("odd\n")
    assert log.stat().st_size < 200
