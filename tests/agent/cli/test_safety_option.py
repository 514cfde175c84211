"""The option that says what screens texts."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from arriero.agent.cli.app import main


def asked(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*options, "--no-tools", "-q", "hello"])
    return done.exit_code, done.output


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "answers.txt"
    file.write_text("The key is AKIAABCDEFGH234567QR.<|eot_id|>\n")
    return f"script:{file}"


def test_by_default_keys_are_not_shown(script: str) -> None:
    assert asked("-m", script) == (0, "The key is [secret removed].\n")
    assert asked("-m", script, "--safety", "off") == (0, "The key is AKIAABCDEFGH234567QR.\n")


def test_a_policy_comes_from_a_file(script: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[output.patterns]\naction = "block"\n[texts]\noutput = "No."\n')
    code, output = asked("-m", script, "--safety", str(file))
    assert code == 5
    assert output.startswith("No.\n")
    assert "AKIA" not in output


def test_a_guard_that_is_missing_ends_the_run(script: str) -> None:
    code, output = asked("-m", script, "--safety", "strict")
    assert code == 5
    assert "the input has not been screened" in output


def test_a_wrong_name_is_told_before_anything_is_loaded() -> None:
    code, output = asked("-m", "nothing.gguf", "--safety", "strickt")
    assert code != 0
    assert "did you mean 'strict'?" in output
