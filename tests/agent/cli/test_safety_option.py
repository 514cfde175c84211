"""The option that says what screens texts."""

from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from arriero.agent.cli.app import cli

Write = Callable[..., str]
KEY = "The key is AKIAABCDEFGH234567QR."


def asked(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, [*options, "--no-tools", "-q", "hello"], catch_exceptions=False)
    return done.exit_code, done.output


def test_by_default_keys_are_not_shown(script: Write) -> None:
    assert asked("-m", script(KEY)) == (0, "The key is [secret removed].\n")
    assert asked("-m", script(KEY), "--safety", "off") == (0, f"{KEY}\n")


def test_a_policy_comes_from_a_file(script: Write, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[output.patterns]\naction = "block"\n[texts]\noutput = "No."\n')
    code, output = asked("-m", script(KEY), "--safety", str(file))
    assert code == 5
    assert "No.\n" in output
    assert "AKIA" not in output


def test_a_guard_that_is_missing_ends_the_run(script: Write) -> None:
    code, output = asked("-m", script(KEY), "--safety", "strict")
    assert code == 5
    assert "the input has not been screened" in output


def test_a_wrong_name_is_told_before_anything_is_loaded() -> None:
    code, output = asked("-m", "nothing.gguf", "--safety", "strickt")
    assert code != 0
    assert "did you mean 'strict'?" in output
