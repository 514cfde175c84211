"""MCP servers that work, and servers that do everything wrong: only their own tools suffer."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
from processes_ended import gone

from arriero.agent import Agent, Limits
from arriero.agent.backends import ScriptedModel
from arriero.tools import Artifact, Tool, ToolContext, ToolError, ToolResult
from arriero.tools.mcp import MCPToolset, load_mcp

pytest.importorskip("mcp")
PLAIN = str(Path(__file__).with_name("mcp_plain_server.py"))
SDK = str(Path(__file__).with_name("mcp_sdk_server.py"))


def plain(*way: str, **more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-S", PLAIN, *way], **more}


def config(**servers: dict[str, Any]) -> dict[str, Any]:
    return {"mcpServers": servers}


def with_servers(
    use: Callable[[dict[str, Tool], MCPToolset], Coroutine[Any, Any, None]], **servers: dict[str, Any]
) -> None:
    async def run() -> None:
        async with await load_mcp(config(**servers)) as toolset:
            await use({tool.name: tool for tool in toolset.tools}, toolset)

    anyio.run(run)


async def ask(tool: Tool, **arguments: Any) -> ToolResult:
    return await tool.run(arguments, ToolContext())


async def ask_until_it_runs(tool: Tool) -> ToolResult:
    with anyio.fail_after(60):
        while True:
            try:
                return await ask(tool)
            except ToolError:
                await anyio.sleep(0.2)


def test_calls_results_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "do not tell")
    monkeypatch.setenv("LANG", "C.UTF-8")

    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        assert toolset.failures == {}
        assert (tools["echo"].spec.description, tools["echo"].effect) == ("echo", "read")
        assert tools["die"].effect == "once"
        assert await ask(tools["echo"], text="¡hola! <|eot_id|>") == ToolResult("¡hola! <|eot_id|>")
        assert await ask(tools["error"]) == ToolResult("Error when running tool: no such city", error=True)
        with pytest.raises(ToolError, match="the MCP server one refused: there is no such method"):
            await ask(tools["refuse"])
        environment = json.loads((await ask(tools["environment"])).content)
        assert environment.pop("OWN") == "given"
        assert set(environment) - {"LC_CTYPE"} == {"PATH", "HOME", "LANG"}

    with_servers(use, one=plain(env={"OWN": "given"}))


def test_which_calls_need_approval() -> None:
    async def use() -> None:
        servers = config(
            careful=plain(approval="always"), usual=plain(autoApprove=["pid"]), open=plain(approval="never")
        )
        async with await load_mcp(servers, approval="writes") as toolset:
            asking = {tool.name for tool in toolset.tools if tool.needs_approval({})}
        assert {"careful_echo", "careful_pid", "usual_die"} <= asking
        assert not asking & {"usual_echo", "usual_pid", "open_die"}
        async with await load_mcp(config(usual=plain())) as toolset:
            assert not any(tool.needs_approval({}) for tool in toolset.tools)

    anyio.run(use)


def test_floods_noise_and_lies() -> None:
    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        assert len((await ask(tools["flood"])).content) == 5_000_000
        assert (await ask(tools["noise"], text="after all")).content == "after all"
        with pytest.raises(ToolError, match="gave an answer that cannot be used"):
            await ask(tools["lie"])
        assert (await ask(tools["echo"], text="again")).content == "again"

    with_servers(use, one=plain())


def test_a_server_that_dies_is_started_again_and_others_go_on() -> None:
    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        other = int((await ask(tools["two_pid"])).content)
        first = int((await ask(tools["one_pid"])).content)
        with pytest.raises(ToolError, match=r"one has ended, having printed: fatal: out of coffee"):
            await ask(tools["one_die"])
        second = int((await ask(tools["one_pid"])).content)
        os.kill(second, signal.SIGKILL)
        assert gone(second)
        third = int((await ask_until_it_runs(tools["one_pid"])).content)
        assert len({first, second, third}) == 3
        assert int((await ask(tools["two_pid"])).content) == other

    with_servers(use, one=plain(), two=plain())


def test_a_server_that_hangs_in_calls_is_ended_and_started_again() -> None:
    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        first = int((await ask(tools["pid"])).content)
        begun = time.monotonic()
        for _ in range(2):
            with pytest.raises(ToolError, match="the MCP server one did not answer within 1 seconds"):
                await ask(tools["hang"])
        assert time.monotonic() - begun < 20
        assert gone(first)
        assert int((await ask_until_it_runs(tools["pid"])).content) != first

    with_servers(use, one=plain(timeout=1))


def test_servers_that_never_become_ready() -> None:
    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        said = toolset.failures
        assert "silent was not ready within 1 seconds (its command has to speak MCP" in said["silent"]
        assert "dead ended before it was ready (run the command" in said["dead"]
        assert said["dead"].endswith("having printed: cannot find my files")
        assert said["absent"].endswith("no-such-program: No such file or directory")
        assert "a message was larger than 16 MiB" in said["line"]
        assert set(said) == {"silent", "dead", "absent", "line"}
        assert (await ask(tools["echo"], text="here")).content == "here"

    with_servers(
        use,
        silent=plain("silent", start_timeout=1),
        dead=plain("dead"),
        absent={"command": "no-such-program"},
        line=plain("one long line"),
        works=plain("endless list"),
    )


def test_pauses_between_starts_grow(tmp_path: Path) -> None:
    from arriero.tools.mcp.config import read_config
    from arriero.tools.mcp.server import MCPServer

    marker = tmp_path / "starts"
    server = MCPServer("one", read_config(config(one=plain("dead", str(marker))))["one"])

    async def run() -> None:
        for _ in range(2):
            with pytest.raises(ToolError, match="cannot find my files"):
                await server.tools()
        for _ in range(20):
            with pytest.raises(ToolError, match="is not running and can be tried again in"):
                await server.tools()

    anyio.run(run)
    assert marker.read_text() == "started\n" * 2


def test_a_tool_that_is_no_longer_offered(tmp_path: Path) -> None:
    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        assert (await ask(tools["echo"], text="now")).content == "now"
        with pytest.raises(ToolError):
            await ask(tools["die"])
        with pytest.raises(ToolError, match="the MCP server one no longer offers echo"):
            await ask(tools["echo"], text="then")

    with_servers(use, one=plain("changes", str(tmp_path / "starts")))


def test_a_server_may_take_tools_away_while_it_runs() -> None:
    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        assert (await ask(tools["echo"], text="now")).content == "now"
        await ask(tools["change"])

        async def ask_until_it_is_gone() -> None:
            while True:
                await ask(tools["echo"])
                await anyio.sleep(0.05)

        with anyio.fail_after(60), pytest.raises(ToolError, match="the MCP server one no longer offers echo"):
            await ask_until_it_is_gone()
        assert (await ask(tools["pid"])).content

    with_servers(use, one=plain())


def test_nothing_is_left_after_close() -> None:
    pids: list[int] = []

    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        pids.extend(map(int, (await ask(tools["child"])).content.split()))
        await toolset.aclose()
        with pytest.raises(ToolError, match="the MCP server one has been closed"):
            await ask(tools["echo"])

    with_servers(use, one=plain("stays"))
    assert len(pids) == 2
    assert gone(*pids)


def test_nothing_is_left_when_the_program_is_killed() -> None:
    code = f"""
import anyio, os, signal
from arriero.tools import ToolContext
from arriero.tools.mcp import load_mcp

async def main():
    toolset = await load_mcp({config(one=plain("stays"))!r})
    tool = next(tool for tool in toolset.tools if tool.name == "child")
    print((await tool.run({{}}, ToolContext())).content, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    assert gone(*pids)


def test_tools_work_from_any_event_loop_and_thread() -> None:
    toolset = anyio.run(load_mcp, config(one=plain()))
    tools = {tool.name: tool for tool in toolset.tools}
    said: list[str] = []

    async def several() -> None:
        for number in range(3):
            said.append((await ask(tools["echo"], text=str(number))).content)

    anyio.run(several)
    threads = [threading.Thread(target=anyio.run, args=(several,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    anyio.run(toolset.aclose)
    assert sorted(said) == ["0"] * 3 + ["1"] * 3 + ["2"] * 3


def test_a_cancelled_call_stops_waiting() -> None:
    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        with anyio.move_on_after(0.2) as waited:
            await ask(tools["hang"])
        assert waited.cancelled_caught

    with_servers(use, one=plain())


def test_an_agent_survives_what_its_servers_do() -> None:
    calls = [json.dumps({"name": name, "parameters": {}}) + "<|eom_id|>" for name in ("flood", "die", "pid")]
    toolset = anyio.run(load_mcp, config(one=plain()))
    with Agent(ScriptedModel([*calls, "Done.<|eot_id|>"]), tools=toolset.tools) as agent:
        result = agent.run_sync("Try them all")
    flood, died, pid = [message.content for message in result.messages if message.role == "ipython"]
    assert result.output == "Done."
    assert "characters left out" in flood
    assert len(flood) < 21_000
    assert died.startswith("Error when running tool: the MCP server one has ended, having printed: fatal")
    assert gone(int(pid))


def test_a_server_that_outlasts_the_limits_of_runs_is_ended() -> None:
    toolset = anyio.run(load_mcp, config(one=plain()))
    pid = int(anyio.run(ask, next(tool for tool in toolset.tools if tool.name == "pid")).content)
    call = '{"name": "hang", "parameters": {}}<|eom_id|>'
    model = ScriptedModel([call, call, "Sorry.<|eot_id|>"])
    with Agent(model, tools=toolset.tools, limits=Limits(tool_timeout=0.5)) as agent:
        result = agent.run_sync("Hang")
        told = [message.content for message in result.messages if message.role == "ipython"]
        assert (
            told == ["Error when running tool: hang did not answer within 0.5 seconds and was stopped."] * 2
        )
        assert gone(pid)


async def use_the_shop(tools: dict[str, Tool], toolset: MCPToolset) -> None:
    assert toolset.failures == {}
    price = tools["price"]
    assert price.spec.description == "Price of some of an item."
    assert price.spec.parameters["required"] == ["item"]
    assert (await ask(price, item="tea", n=2)).content == "2 tea: 5.0"
    assert json.loads((await ask(tools["stock"])).content) == {"tea": 3}
    picture = await ask(tools["picture"])
    assert picture.artifacts == (Artifact("picture-1.png", "image/png", b"\x89PNG\r\n\x1a\n123"),)
    assert picture.content == "[picture-1.png: image/png, 11 bytes]"
    broken = await ask(tools["broken"])
    assert broken.error
    assert "Error executing tool broken" in broken.content
    assert len((await ask(tools["flood"])).content) == 5_000_000


def test_a_server_written_with_the_sdk() -> None:
    with_servers(use_the_shop, shop={"command": sys.executable, "args": [SDK], "start_timeout": 120})


def test_a_server_from_a_package_registry() -> None:
    pytest.importorskip("mcp_server_time")

    async def use(tools: dict[str, Tool], toolset: MCPToolset) -> None:
        assert toolset.failures == {}
        asked = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        assert "21:00" in (await ask(tools["convert_time"], **asked)).content
        wrong = await ask(tools["get_current_time"], timezone="Nowhere/Town")
        assert wrong.error

    command = [sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC"]
    with_servers(use, time={"command": command[0], "args": command[1:], "start_timeout": 120})
