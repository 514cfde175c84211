"""``arriero logs``: what was done, how much is kept, removing it, and keeping nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arriero.agent.cli.app import cli
from arriero.agent.journal import Journal

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    return lambda *args, **options: CliRunner().invoke(cli, args, prog_name="arriero", **options)


@pytest.fixture
def ask(run: Run, script: Callable[..., str]) -> Callable[[str, str], None]:
    def put(question: str, answer: str) -> None:
        result = run("ask", question, "-q", "--no-tools", "-m", script(answer))
        assert result.exit_code == 0, result.stderr

    return put


def test_what_there_is_can_be_looked_at(run: Run, ask: Callable[[str, str], None]) -> None:
    ask("Where is Oslo?", "In Norway.")
    ask("And Bergen?", "There too.")
    assert "And Bergen?" in run("logs", "-n", "1").stdout.splitlines()[0]
    assert [row["prompt"] for row in json.loads(run("logs", "--json").stdout)] == [
        "And Bergen?",
        "Where is Oslo?",
    ]
    assert "run_finished" in run("logs", "last").stdout
    assert "run_finished" in run("logs", "show", "last").stdout
    assert "[Norway]" in run("logs", "-q", "norway").stdout
    (hit,) = json.loads(run("logs", "-q", "norway", "--json").stdout)
    assert (hit["role"], hit["excerpt"]) == ("assistant", "In [Norway].")
    nothing = run("logs", "-q", "nowhere")
    assert (nothing.exit_code, nothing.stderr) == (1, "error: no message holds these words\n")
    assert "COMMAND [OPTIONS]" in run("logs", "--help").stdout


def test_how_much_is_kept(run: Run, ask: Callable[[str, str], None]) -> None:
    empty = json.loads(run("logs", "status", "--json").stdout)
    assert (empty["on"], empty["sessions"], empty["bytes"]) == (True, 0, 0)
    ask("Where is Oslo?", "In Norway.")
    told = json.loads(run("logs", "status", "--json").stdout)
    assert (told["sessions"], told["runs"], told["path"]) == (1, 1, str(Journal().path))
    assert told["bytes"] > 10_000
    assert "1 session, 1 run\n" in run("logs", "status").stdout


def test_removing(run: Run, ask: Callable[[str, str], None]) -> None:
    ask("Where is Oslo?", "In Norway.")
    ask("And Bergen?", "There too.")
    assert run("logs", "rm").exit_code == 2
    assert run("logs", "rm", "--older-than", "1", "-y").stderr == "nothing was removed\n"
    nobody = run("logs", "rm", "--all")
    assert (nobody.exit_code, len(Journal().sessions())) == (2, 2)
    assert "without a terminal, say --yes" in nobody.stderr
    asked = run("logs", "rm", "--all", input="n\n")
    assert "remove 2 sessions with 2 runs for good?" in asked.stderr
    assert len(Journal().sessions()) == 2
    assert run("logs", "rm", "last", "-y").stderr == "removed 1 session\n"
    assert [info.title for info in Journal().sessions()] == ["Where is Oslo?"]
    assert run("logs", "rm", "--older-than", "0", "-y").exit_code == 0
    assert Journal().sessions() == []


def test_a_session_that_somebody_has_is_left(run: Run, ask: Callable[[str, str], None]) -> None:
    ask("Where is Oslo?", "In Norway.")
    journal = Journal()
    lock = journal.lock(journal.session("last").id)
    result = run("logs", "rm", "--all", "-y")
    lock.release()
    assert result.exit_code == 1
    assert result.stderr.startswith("left: ")
    assert len(journal.sessions()) == 1


def test_keeping_nothing(run: Run, ask: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("logs", "off").exit_code == 0
    ask("Where is Oslo?", "In Norway.")
    assert Journal().sessions() == []
    assert run("logs", "status").stdout.startswith("off; arriero logs on")
    monkeypatch.setenv("ARRIERO_JOURNAL", "0")
    assert "says otherwise" in run("logs", "on").stderr
    monkeypatch.delenv("ARRIERO_JOURNAL")
    ask("Where is Oslo?", "In Norway.")
    assert len(Journal().sessions()) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "journal = false\n"),
        ("# mine\ntemperature = 0\n", "journal = false\n# mine\ntemperature = 0\n"),
        ("seed = 1\n  journal=true # yes\nplain = true\n", "seed = 1\njournal = false\nplain = true\n"),
        ("journal = true", "journal = false\n"),
    ],
)
def test_the_rest_of_the_settings_stays(before: str, after: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "home" / "config.toml"
    path.parent.mkdir()
    path.write_text(before)
    assert run("logs", "off").exit_code == 0
    assert path.read_text() == after
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("before", ["nonsense", 'system = """\njournal = true\n"""\n'])
def test_settings_that_cannot_be_changed_stay(before: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "home" / "config.toml"
    path.parent.mkdir()
    path.write_text(before)
    assert run("logs", "off").exit_code == 2
    assert path.read_text() == before
