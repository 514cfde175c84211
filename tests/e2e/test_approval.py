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


def test_a_person_is_asked_in_a_conversation(window: Open, given: Callable[..., list[str]]) -> None:
    one = window(*given(CALL % "one", "First.", CALL % "two", "Second.", CALL % "three", "Third.", pace=0.01))
    one.prompt()
    one.enter("go")
    # What is typed before the question is on the screen decides nothing.
    one.child.send("y")
    text = one.wait_for("may error run?")
    assert "text: one" in text
    assert "First." not in text
    one.child.send("w")
    one.wait_for("The MCP server plain offers it, and its server does not say that it only reads.")
    one.child.send("t")
    one.wait_for("why not?")
    one.child.send("not noow\x7f\x7fw\r")
    text = one.wait_for("First.")
    assert "was not run: the user did not allow this call and said why: not now" in " ".join(text.split())
    one.enter(" means go on")  # after the key from before
    one.wait_for("text: two")
    one.wait_for("stops here")
    one.child.send("a")
    assert "no such city" in one.prompt_after("Second.")
    one.enter("and again")
    assert one.prompt_after("Third.").count("may error run?") == 3  # w repeats it
    one.child.sendeof()
    assert one.wait_end() == 0


def test_ctrl_c_leaves_the_call_undecided(window: Open, given: Callable[..., list[str]]) -> None:
    one = window(*given(CALL % "one", "Never."), "go")
    one.wait_for("may error run?")
    one.child.sendintr()
    assert one.wait_end() == 5
    assert "--approve PATTERN lets such calls run unasked" in " ".join(one.text.split())
