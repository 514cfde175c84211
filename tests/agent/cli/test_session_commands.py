"""``arriero sessions``, ``logs``, ``replay`` and ``--session``."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arriero.agent.cli.app import cli
from arriero.agent.journal import Journal

Run = Callable[..., Result]


@pytest.fixture
def run(script: Callable[..., str]) -> Run:
    def invoke(*args: str, answers: tuple[str, ...] = (), stdin: str | None = None) -> Result:
        model = ["-m", script(*answers), "--no-tools"] if answers else []
        return CliRunner().invoke(cli, [*args, *model], input=stdin)

    return invoke


def asked(run: Run, name: str, question: str, answer: str) -> None:
    result = run("ask", question, "--session", name, "-q", answers=(answer,))
    assert (result.exit_code, result.stdout) == (0, f"{answer}\n"), result.stderr


def test_a_session_goes_on_and_is_listed_shown_and_found(run: Run) -> None:
    asked(run, "trip", "Where is Oslo?", "In Norway.")
    asked(run, "trip", "And Bergen?", "There too.")
    listed = run("sessions", "list").stdout
    assert "trip" in listed
    assert "Where is Oslo?" in listed
    (info,) = json.loads(run("sessions", "list", "--json").stdout)
    assert (info["name"], info["runs"]) == ("trip", 2)
    shown = run("sessions", "show", "trip").stdout
    assert "   1  user       Where is Oslo?" in shown
    assert "   4  assistant  There too." in shown
    assert "[Norway]" in run("sessions", "search", "norway").stdout
    assert run("sessions", "search", "nowhere").exit_code == 1


def test_an_answer_that_was_cut_off_stays_marked(run: Run) -> None:
    cut = run("ask", "Tell me", "--session", "s", "--max-tokens", "2", "-q", answers=("A long story.",))
    assert cut.exit_code == 4
    asked(run, "s", "And now?", "Now what?")
    assert "   2  assistant  A long s (interrupted)\n" in run("sessions", "show", "s").stdout
    exported = run("sessions", "export", "s").stdout
    assert exported.count("(interrupted)") == 1
    assert "A long s (interrupted)\n" in exported


def test_fork_rename_undo_rm(run: Run) -> None:
    asked(run, "trip", "Where is Oslo?", "In Norway.")
    asked(run, "trip", "And Bergen?", "There too.")
    assert run("sessions", "fork", "trip", "--at", "2", "--name", "other").stdout == "other\n"
    assert "Bergen" not in run("sessions", "show", "other").stdout
    assert run("sessions", "rename", "other", "third").exit_code == 0
    assert run("sessions", "undo", "third").stderr == "took back the last question and its answer\n"
    undone = run("sessions", "undo", "third")
    assert (undone.exit_code, undone.stderr) == (1, "error: there is nothing to take back\n")
    assert run("sessions", "rm", "trip", stdin="n\n").exit_code == 0
    assert run("sessions", "show", "trip").exit_code == 0
    assert run("sessions", "rm", "trip", "--yes").exit_code == 0
    gone = run("sessions", "show", "trip")
    assert (gone.exit_code, gone.stderr) == (
        1,
        "error: there is no session 'trip'; arriero sessions list shows them\n",
    )


@pytest.mark.parametrize(
    ("form", "holds"),
    [
        ("md", "## User\n\nWhere <b>is</b> Oslo?"),
        ("html", "Where &lt;b&gt;is&lt;/b&gt; Oslo?"),
        ("ipynb", '"cells"'),
    ],
)
def test_export(run: Run, tmp_path: Path, form: str, holds: str) -> None:
    asked(run, "trip", "Where <b>is</b> Oslo?", "In Norway.")
    assert holds in run("sessions", "export", "trip", "--to", form).stdout
    file = tmp_path / f"trip.{form}"
    assert run("sessions", "export", "trip", "-o", str(file)).exit_code == 0
    assert holds in file.read_text()
    again = run("sessions", "export", "trip", "-o", str(file))
    assert (again.exit_code, "--force replaces it" in again.stderr) == (1, True)
    assert run("sessions", "export", "trip", "-o", str(file), "--force").exit_code == 0


def test_export_as_json_is_whole(run: Run) -> None:
    asked(run, "trip", "Where?", "There.")
    whole = json.loads(run("sessions", "export", "trip", "--to", "json").stdout)
    assert [message["content"] for message in whole["messages"]][-2:] == ["Where?", "There."]
    assert whole["runs"][0]["stop_reason"] == "final"


def test_a_page_of_a_session_or_of_one_run(run: Run, tmp_path: Path) -> None:
    asked(run, "trip", "Where <b>is</b> Oslo?", "In Norway.")
    asked(run, "trip", "And Bergen?", "There too.")
    (last, _) = Journal().runs("trip")
    whole, one = (
        run("sessions", "show", "trip", "--html").stdout,
        run("sessions", "show", last.id[:8], "--html").stdout,
    )
    assert ("Where &lt;b&gt;is&lt;/b&gt; Oslo?" in whole, "Bergen" in whole) == (True, True)
    assert ("Oslo" in one, "Bergen" in one) == (False, True)
    file = tmp_path / "run.html"
    assert run("sessions", "show", "trip", "--html", "-o", str(file)).exit_code == 0
    assert file.stat().st_mode & 0o077 == 0
    again = run("sessions", "show", "trip", "--html", "-o", str(file))
    assert (again.exit_code, "--force replaces it" in again.stderr) == (1, True)
    wrong = run("sessions", "show", "trip", "-o", str(file))
    assert (wrong.exit_code, "-o goes with --html" in wrong.stderr) == (2, True)
    assert "there is no run 'zzzz'" in run("sessions", "show", "zzzz", "--html").stderr


def test_logs_and_replay(run: Run) -> None:
    asked(run, "trip", "Where?", "There.")
    assert "final" in run("logs").stdout
    assert "run_finished" in run("logs", "last").stdout
    events = [json.loads(line) for line in run("logs", "last", "--json").stdout.splitlines()]
    assert events[-1]["output"] == "There."
    again = run("replay", "last")
    assert (again.exit_code, again.stdout) == (0, "There.\n"), again.stderr
    assert "as recorded" in again.stderr
    unsure = run("replay", "last", "--verify")
    assert (unsure.exit_code, "whose weights are not known" in unsure.stderr) == (1, True)
    assert run("replay", "zzzz").exit_code == 1


def test_resume_without_anything_unfinished_takes_a_question(run: Run) -> None:
    asked(run, "trip", "Where?", "There.")
    result = run("sessions", "resume", "trip", "And when?", "-q", answers=("Soon.",))
    assert (result.exit_code, result.stdout) == (0, "Soon.\n"), result.stderr


def test_no_journal_keeps_nothing(run: Run) -> None:
    result = run("ask", "Where?", "--no-journal", "-q", answers=("There.",))
    assert result.exit_code == 0
    assert not Journal().path.exists()
    refused = run("ask", "Where?", "--no-journal", "--session", "x", "-q", answers=("There.",))
    assert "leave --no-journal out" in refused.stderr
    assert refused.exit_code != 0


def test_a_journal_that_cannot_be_used_is_said_in_one_line(run: Run) -> None:
    path = Journal().path
    path.parent.mkdir(parents=True)
    path.write_text("not a database " * 100)
    result = run("sessions", "list")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "move it away" in result.stderr
