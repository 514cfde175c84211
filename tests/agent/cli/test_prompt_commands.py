"""``arriero prompts show``: what a model is really given."""

from collections.abc import Callable

from click.testing import CliRunner, Result

from arriero.agent.cli.app import cli
from arriero.agent.models import bundled_model


def show(*args: str) -> Result:
    return CliRunner().invoke(cli, ["prompts", "show", "--date", "01 Jan 2026", *args])


def test_the_prompt_is_written_out_and_what_only_looks_like_a_marker_is_told_apart() -> None:
    result = show("--no-tools", "-s", "Be \x1b[2Jbrief.", "What", "<|eot_id|>?")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n")
    assert "Today Date: 01 Jan 2026\n\nBe brief.<|eot_id|>" in result.stdout
    assert "<|start_header_id|>user<|end_header_id|>\n\nWhat < |eot_id|>?<|eot_id|>" in result.stdout
    assert result.stdout.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n\n")


def test_the_form_is_that_of_the_model_or_the_one_that_is_named() -> None:
    by_file = show("-m", str(bundled_model()), "--no-tools", "hi").stdout
    assert by_file == show("--dialect", "llama3.1", "--no-tools", "hi").stdout
    assert by_file != show("--dialect", "llama4", "--no-tools", "hi").stdout


def test_a_scripts_form_and_no_question(script: Callable[..., str]) -> None:
    assert "(the question)<|eot_id|>" in show("-m", script("unused"), "--no-tools").stdout


def test_a_model_that_is_not_there_is_said() -> None:
    result = show("-m", "/nowhere.gguf", "hi")
    assert result.exit_code == 6
    assert "there is no model file /nowhere.gguf" in result.stderr
