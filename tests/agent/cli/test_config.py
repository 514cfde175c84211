"""Configuration files: precedence, origins, and what they may not say."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arriero.agent.cli.app import cli


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARRIERO_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "home"


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, args, prog_name="arriero")


def shown(*args: str) -> dict[str, dict[str, object]]:
    result = invoke("config", "show", "--json", *args)
    assert result.exit_code == 0, result.output
    rows: dict[str, dict[str, object]] = json.loads(result.stdout)
    return rows


def test_without_files_everything_is_a_default(home: Path) -> None:
    assert {row["origin"] for row in shown().values()} == {"default"}


def test_what_is_set_for_questions_is_no_argument_of_other_commands(home: Path) -> None:
    (home / "config.toml").write_text('journal = true\nsystem = "x"\nmodel = "bundled"\nsession = "work"\n')
    shown = invoke("safety", "show", "last")
    assert shown.exit_code == 1, shown.output
    assert "there is no run" in shown.stderr
    for words in (("models", "rm"), ("sessions", "rm"), ("sessions", "undo")):
        missing = invoke(*words)
        assert missing.exit_code == 2, words
        assert "Missing argument" in missing.stderr


def test_the_stronger_place_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config.toml").write_text("temperature = 0.5\nmax-steps = 7\nseed = 1\n")
    Path("arriero.toml").write_text("max_steps = 9\nseed = 2\n")
    monkeypatch.setenv("ARRIERO_SEED", "3")
    rows = shown()
    assert rows["temperature"] == {"value": 0.5, "origin": str(home / "config.toml")}
    assert rows["max-steps"] == {"value": 9, "origin": str(Path("arriero.toml").absolute())}
    assert rows["seed"] == {"value": 3, "origin": "ARRIERO_SEED"}


def test_a_file_sets_what_a_question_uses(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "answers.txt"
    script.write_text("It is 42.\n")
    (home / "config.toml").write_text(f'model = "script:{script}"\nno-tools = true\n')
    result = invoke("what is it?")
    assert (result.exit_code, result.stdout) == (0, "It is 42.\n")


@pytest.mark.parametrize("kept", [True, False])
def test_a_file_says_whether_a_journal_is_kept(kept: bool, home: Path, tmp_path: Path) -> None:
    script = tmp_path / "answers.txt"
    script.write_text("It is 42.\n")
    (home / "config.toml").write_text(f"journal = {str(kept).lower()}\n")
    assert shown()["journal"]["value"] is kept
    assert invoke("--no-tools", "-m", f"script:{script}", "what is it?").exit_code == 0
    assert (home / "journal.db").exists() is kept


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max_step = 3", "did you mean 'max-steps'?"),
        ("colour = 'red'", "there is no setting 'colour'"),
        ("max-steps = [1]", "takes one value"),
        ("max-steps = true", "not true or false"),
        ("plain = 1", "takes true or false"),
        ("tool = 'python'", "takes a list"),
        ("max-steps = 0", "0 is not in the range"),
        ("temperature = 'hot'", "'hot' is not a valid float"),
        ("seed =", "this is no TOML"),
    ],
)
def test_what_a_file_says_wrongly_is_named(home: Path, text: str, complaint: str) -> None:
    (home / "config.toml").write_text(text)
    result = invoke("config", "show")
    assert result.exit_code == 2
    assert complaint in result.stderr.replace("\n", " ")


def test_a_projects_file_may_not_weaken_a_guard(home: Path) -> None:
    Path("arriero.toml").write_text('model = "script:evil"\n')
    result = invoke("a question")
    assert result.exit_code == 2
    assert "can only be set in your own file" in result.stderr


def test_a_file_that_cannot_be_read_is_named(home: Path) -> None:
    (home / "config.toml").mkdir()
    result = invoke("config", "show")
    assert result.exit_code == 2
    assert "config.toml: cannot be read" in result.stderr


def test_the_files_are_named_even_when_one_is_wrong(home: Path) -> None:
    (home / "config.toml").write_text("nonsense")
    result = invoke("config", "path")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == str(home / "config.toml")
    assert result.stdout.splitlines()[1].endswith("arriero.toml  (not there)")


@pytest.mark.parametrize(("line", "code"), [("seed = 5", 0), ("sead = 5", 2)])
def test_the_editor_opens_the_users_file_and_what_it_wrote_is_checked(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, code: int
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\necho '{line}' >> \"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    assert invoke("config", "edit").exit_code == code
    assert (home / "config.toml").stat().st_mode & 0o777 == 0o600
    assert line in (home / "config.toml").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_the_command(shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_ARRIERO_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [("arriero too", "tools"), ("arriero --sand", "--sandbox"), ("arriero tools c", "call")],
)
def test_the_shell_is_told_what_comes_next(words: str, expected: str) -> None:
    environment = {
        "_ARRIERO_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    result = CliRunner().invoke(cli, [], prog_name="arriero", env=environment)
    assert f"plain,{expected}" in result.stdout.splitlines()
