"""Asking a person, in a real pseudo-terminal, whether a tool of an MCP server may run."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]
SERVER = Path(__file__).parents[1] / "tools" / "mcp_plain_server.py"
CALL = '{"name": "error", "parameters": {"text": "%s"}}<|eom_id|>'


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments for a model that gives the answers, and an MCP server whose tools need approval."""
    pytest.importorskip("mcp")

    def write(*answers: str, pace: float = 0.0) -> list[str]:
        script, servers = tmp_path / "answers.txt", tmp_path / "mcp.json"
        script.write_text(f"pace: {pace}\n" + "\n---\n".join(answers), encoding="utf-8")
        server = {"command": sys.executable, "args": ["-S", str(SERVER)]}
        servers.write_text(json.dumps({"mcpServers": {"plain": server}}))
        return ["--no-tools", "--mcp", str(servers), "-m", f"script:{script}"]

    return write


def asked(one: Any, times: int = 1) -> str:
    """The text once the question has been put so many times, and an answer can be typed."""

    def holds(text: str) -> bool:
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        return " ".join(lines).count("says more") == times and lines[-1] in ("›", ">")

    return str(one.wait_for(holds))


def test_a_person_is_asked_in_a_conversation(window: Open, given: Callable[..., list[str]]) -> None:
    one = window(*given(CALL % "one", "First.", CALL % "two", "Second.", CALL % "three", "Third.", pace=0.01))
    one.prompt()
    one.enter("go")
    # What is typed before the question is on the screen decides nothing.
    one.enter("y")
    text = asked(one)
    assert "may error run?" in text
    assert "text: one" in text
    assert "First." not in text
    one.enter("?")
    one.wait_for("The MCP server plain offers it, and its server does not say that it only reads.")
    one.enter("not noow\x7f\x7fw")
    text = one.wait_for("First.")
    assert "was not run: the user did not allow this call and said why: not now" in " ".join(text.split())
    one.wait_for("text: two")  # asked by the entry from before
    asked(one, 3)
    one.enter("a")
    assert "no such city" in one.prompt_after("Second.")
    one.enter("and again")
    assert one.prompt_after("Third.").count("may error run?") == 3  # ? repeats it
    one.child.sendeof()
    assert one.wait_end() == 0


def test_the_call_is_edited_at_the_prompt(window: Open, given: Callable[..., list[str]]) -> None:
    one = window(*given(CALL % "one", "First."), rows=40)
    one.prompt()
    one.enter("go")
    asked(one)
    one.enter("e")
    one.wait_for("Enter takes it")
    one.wait_for('"text": "one"')
    one.child.send("\x1b[A\x1b[F\x7f, no")  # up, end
    one.wait_for('"text": "one, no')
    one.child.send("\r")
    one.wait_for("this cannot be called: no JSON")
    one.wait_for(lambda text: text.rstrip().endswith("}"))
    one.child.send('\x1b[A\x1b[F"\r')
    text = one.prompt_after("First.")
    assert "error · failed, as you changed it" in text
    assert "│ text: one, no" in text
    one.enter("/undo")
    one.prompt_after("took back: go")


def test_the_call_is_edited_in_the_users_editor_and_left_as_it_was(
    window: Open, given: Callable[..., list[str]], tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f"#!{sys.executable}\nimport sys\npath = sys.argv[-1]\nassert path.endswith('.json')\n"
                      "text = open(path).read().replace('one', 'three')\nopen(path, 'w').write(text)\n")  # fmt: skip
    editor.chmod(0o755)
    one = window(*given(CALL % "one", "First."), VISUAL=str(editor))
    one.prompt()
    one.enter("go")
    asked(one)
    one.enter("e")
    one.wait_for('"text": "one"')
    one.child.send("\x03")
    asked(one, 2)
    one.enter("e")
    one.wait_for(lambda text: text.count('"text": "one"') == 2)
    one.child.send("\x18\x05")  # Ctrl-X Ctrl-E
    one.wait_for('"text": "three"')
    one.child.send("\r")
    assert "│ text: three" in one.prompt_after("First.")


@pytest.mark.parametrize("key", ["\x03", "\x1b"])
def test_ctrl_c_and_escape_leave_the_call_undecided(
    key: str, window: Open, given: Callable[..., list[str]]
) -> None:
    one = window(*given(CALL % "one", "Never."), "go")
    asked(one)
    one.child.send(key)
    assert one.wait_end() == 5
    assert "--approve PATTERN lets such calls run unasked" in " ".join(one.text.split())


def test_what_is_left_undecided_is_edited_later(window: Open, given: Callable[..., list[str]]) -> None:
    arguments = given(CALL % "one", "First.")
    first = window(*arguments, "go")
    asked(first)
    first.child.send("\x03")
    assert first.wait_end() == 5
    given("First.")
    second = window("--continue", *arguments)
    second.prompt_after("this was not finished")
    second.enter("/continue")
    asked(second)
    second.enter("e")
    second.wait_for('"text": "one"')
    second.child.send('\x1b[A\x1b[F\x7f, later"\r')
    assert "│ text: one, later" in second.prompt_after("First.")


def test_a_narrow_terminal_without_unicode_asks_too(window: Open, given: Callable[..., list[str]]) -> None:
    one = window(*given(CALL % "one", "First."), rows=40, columns=30, PYTHONIOENCODING="ascii")
    one.wait_for("/help shows")
    one.enter("go")
    text = asked(one)
    assert "y runs it, n refuses, a runs" in text
    one.enter("e")
    one.wait_for('"text": "one"')
    one.child.send('\x1b[A\x1b[F\x7f!"\r')
    assert "| text: one!" in one.wait_for("First.")
