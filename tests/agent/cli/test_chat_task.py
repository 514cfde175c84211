"""Task files in a conversation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arriero.agent.cli.chat import Chat
from arriero.tools import tool

from .test_chat import entered

TASK = """
version: 1
name: product
defaults: {model: other-model}
inputs:
  first: {type: int, default: 23}
  second: {type: int}
  note: {type: str, default: ""}
tools: [multiply]
approve: {multiply: always}
steps:
  - id: multiply
    prompt: "What is {{ inputs.first }} * {{ inputs.second }}? {{ inputs.note }}"
    check:
      - tool_called: multiply
      - number: {equals: "{{ inputs.first * inputs.second }}"}
"""
CALL = '{"name": "multiply", "parameters": {"first": %d, "second": %d}}<|eom_id|>'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a task.yaml"
    path.write_text(TASK)
    return path


@pytest.fixture
def multiplying(chat: Callable[..., Chat]) -> Callable[..., Chat]:
    """A conversation with a tool that multiplies, whose model gives the answers."""

    @tool(approval=True)
    def multiply(first: int, second: int) -> int:
        """Multiply."""
        return first * second

    def start(*answers: str) -> Chat:
        one = chat(*answers)
        one.session.tools["multiply"] = multiply
        one.session.renew()
        return one

    return start


def test_it_runs_with_inputs_and_the_conversation_stays_as_it_is(
    multiplying: Callable[..., Chat], file: Path
) -> None:
    one = multiplying(CALL % (6, 7), "It is **42**.", "Hello.")
    out = entered(one, f"/run '{file}' first=6 second=7 note='as a number'")
    assert "the task is written for other-model; here it runs on answers.txt" in " ".join(out.split())
    assert "╭─ multiply · " in out
    assert "It is 42.\n" in out
    assert "multiply: ok, 1 calls" in out
    assert "product: ok" in out
    assert one.session.conversation.messages == []
    model: Any = one.session.model
    assert "What is 6 * 7? as a number" in model.prompts[0]
    assert "│ 42" in entered(one, "/last")
    assert "Hello." in entered(one, "and now?")


def test_a_check_that_does_not_hold_is_told(multiplying: Callable[..., Chat], file: Path) -> None:
    one = multiplying(CALL % (6, 7), "It is 43.")
    out = " ".join(entered(one, f"/run '{file}' first=6 second=7").split())
    assert "multiply: failed, 1 calls" in out
    assert "error: failed: multiply: " in out
    assert "43" in out


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("", "a task file is missing; write /run FILE NAME=VALUE"),
        ("'{file}", "No closing quotation; write /run"),
        ("'{file}' first", "'first' is not of the form NAME=VALUE"),
        ("'{file}' first=6", "the input 'second' is missing; give it a value: second=…"),
        ("'{file}' second=x", "the input 'second' must be a whole number"),
        ("'{file}' second=1 thrid=2", "there is no input 'thrid'"),
        ("/nowhere.yaml", "No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_runs(
    rest: str, problem: str, multiplying: Callable[..., Chat], file: Path
) -> None:
    out = " ".join(entered(multiplying("unused"), f"/run {rest.format(file=file)}").split())
    assert f"error: {problem}" in out or problem in out


def test_a_tool_that_is_off_is_missing(multiplying: Callable[..., Chat], file: Path) -> None:
    one = multiplying("unused")
    entered(one, "/tools off multiply")
    out = " ".join(entered(one, f"/run '{file}' second=7").split())
    assert "the task needs the tool multiply; there are: none" in out


def test_output_that_is_no_text_is_shown_as_json(chat: Callable[..., Chat], tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(
        "version: 1\nname: one\nsteps:\n  - {id: one, prompt: Go}\nresult: {said: '{{ steps.one.output }}'}\n"
    )
    assert '"said": "Hi."' in entered(chat("Hi."), f"/run {path}")
