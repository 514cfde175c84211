"""Functions that run in processes of their own: what crosses, what ends with a call, what is left behind."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import process_tools
import pytest
from processes_ended import gone

from arriero.agent import Agent
from arriero.agent.backends import ScriptedModel
from arriero.tools import (
    Artifact,
    FunctionTool,
    ModelRetry,
    RunContext,
    Tool,
    ToolContext,
    ToolDefinitionError,
    ToolError,
    ToolFailed,
    ToolResult,
    tool,
)


def call(tool: Tool, **arguments: Any) -> ToolResult:
    return anyio.run(tool.run, arguments, ToolContext())


def test_values_cross_and_the_process_is_kept() -> None:
    work = process_tools.work
    assert call(work, what="sum", a="5").content == "6"
    result = call(work, what="picture")
    assert result.content == "a picture\n[a.png: image/png, 4000 bytes]"
    assert result.artifacts == (Artifact("a.png", "image/png", b"\x89PNG" * 1000),)
    pid, calls = json.loads(call(work, what="process").content)
    assert calls == 3
    anyio.run(work.aclose)
    assert gone(pid)
    assert json.loads(call(work, what="process").content)[1] == 1
    anyio.run(work.aclose)


def test_what_goes_wrong_there(capfd: pytest.CaptureFixture[str]) -> None:
    fail = process_tools.fail
    expected = [
        ("value", ToolError, "^ValueError: no such city$"),
        ("retry", ModelRetry, "^use another name$"),
        ("final", ToolFailed, "^it is closed$"),
        ("exit", ToolError, "tried to end the program, with code 3"),
        ("generator", ToolError, "return a list of what it yields"),
        ("end", ToolError, r"^the process of fail ended without an answer \(exit code 3\)$"),
        ("crash", ToolError, r"ended without an answer \(killed by SIGSEGV\)"),
    ]
    for how, kind, words in expected:
        with pytest.raises(kind, match=words):
            call(fail, how=how)
    assert call(fail, how="print").content == "print"
    with pytest.raises(ModelRetry, match="how: this argument is required"):
        call(fail)
    anyio.run(fail.aclose)
    assert capfd.readouterr().out == ""


def test_a_call_that_overruns_its_time_is_killed_with_all_it_started(tmp_path: Path) -> None:
    path = tmp_path / "pids"
    asked = json.dumps({"name": "hang", "parameters": {"path": str(path)}}) + "<|eom_id|>"
    with Agent(ScriptedModel([asked, "Sorry.<|eot_id|>"]), tools=[process_tools.hang]) as agent:
        result = agent.run_sync("Hang")
    assert result.output == "Sorry."
    (told,) = [message.content for message in result.messages if message.role == "ipython"]
    assert told == "Error when running tool: hang did not answer within 2 seconds and its process was killed."
    if path.exists():  # on a slow machine it had not come so far
        assert gone(*map(int, path.read_text().split()))


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_nothing_is_left_when_the_program_ends(tmp_path: Path, end: str) -> None:
    path = tmp_path / "pids"
    code = f"""
import anyio, os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import process_tools
from pathlib import Path
from arriero.tools import ToolContext

async def main():
    async with anyio.create_task_group() as group:
        group.start_soon(process_tools.hang.run, {{"path": {str(path)!r}}}, ToolContext())
        while not Path({str(path)!r}).exists():
            await anyio.sleep(0.05)
        {end}
        os._exit(0)

if __name__ == "__main__":
    anyio.run(main)
"""
    script = tmp_path / "program.py"
    script.write_text(code)
    subprocess.run([sys.executable, str(script)], timeout=120)
    assert gone(*map(int, path.read_text().split()))


def test_a_function_of_the_program_itself(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import anyio\n"
        "from arriero.tools import ToolContext, tool\n"
        "def double(n: int) -> int:\n"
        "    return 2 * n\n"
        "twice = tool(process=True)(double)\n"
        "if __name__ == '__main__':\n"
        "    print(anyio.run(twice.run, {'n': '21'}, ToolContext()).content, twice(2))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("42 4\n", "")


def with_context(ctx: RunContext[None]) -> None:
    """Wants what another process cannot have."""


def test_what_cannot_run_in_a_process_is_refused_at_once() -> None:
    with pytest.raises(ToolDefinitionError, match="at the top of a module"):

        @tool(process=True)
        def local(a: int) -> int:
            return a

    with pytest.raises(ToolDefinitionError, match="'ctx' cannot be given to another process"):
        FunctionTool(with_context, process=True)
