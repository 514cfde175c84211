"""MCP servers over streamable HTTP on 127.0.0.1: one written with the SDK, and some that are none."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from loopback import Loopback, Reply

from arriero.tools import Tool, ToolContext, ToolError
from arriero.tools.mcp import MCPToolset, load_mcp

pytest.importorskip("mcp")
SDK = str(Path(__file__).with_name("mcp_sdk_server.py"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def shop(port: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, SDK, str(port)])
    try:
        end = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def at(port: int, **more: Any) -> dict[str, Any]:
    return {"mcpServers": {"shop": {"url": f"http://127.0.0.1:{port}/mcp", "start_timeout": 60, **more}}}


def test_a_server_over_http_that_goes_away_and_comes_back() -> None:
    port = free_port()

    async def buy(toolset: MCPToolset) -> str:
        tools: dict[str, Tool] = {tool.name: tool for tool in toolset.tools}
        return (await tools["price"].run({"item": "tea"}, ToolContext())).content

    async def use() -> None:
        with shop(port):
            toolset = await load_mcp(at(port, headers={"X-Own": "1"}))
            assert toolset.failures == {}
            assert await buy(toolset) == "1 tea: 2.5"
            flood = next(tool for tool in toolset.tools if tool.name == "flood")
            assert len((await flood.run({}, ToolContext())).content) == 5_000_000
        with pytest.raises(ToolError, match="the MCP server shop"):
            await buy(toolset)
        with shop(port), anyio.fail_after(60):
            while True:
                try:
                    assert await buy(toolset) == "1 tea: 2.5"
                    break
                except ToolError:
                    await anyio.sleep(0.2)
            await toolset.aclose()

    anyio.run(use)


class WithSessions(BaseHTTPRequestHandler):
    """A server of the protocol's handshake era: it forgets its sessions when ``sessions`` is cleared."""

    sessions: set[str]
    tokens: list[str | None]

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.tokens.append(self.headers["Authorization"])
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request.get("id")}
        match request["method"]:
            case "initialize":
                self.sessions.add(f"s{len(self.tokens)}")
                reply["result"] = {
                    "protocolVersion": request["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "old", "version": "1"},
                }
                return self.say(200, reply, {"Mcp-Session-Id": f"s{len(self.tokens)}"})
            case "server/discover":
                return self.say(400, reply | {"error": {"code": -32600, "message": "no session"}})
        if self.headers["Mcp-Session-Id"] not in self.sessions:
            return self.say(404, reply | {"error": {"code": -32600, "message": "Session not found"}})
        match request["method"]:
            case "tools/list":
                reply["result"] = {"tools": [{"name": "price", "inputSchema": {"type": "object"}}]}
            case "tools/call":
                reply["result"] = {"content": [{"type": "text", "text": "cheap"}]}
            case _:
                return self.say(202, None)
        self.say(200, reply)

    def do_GET(self) -> None:
        self.say(405, None)

    do_DELETE = do_GET

    def say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Tests read no access log."""


def test_a_session_that_the_server_forgot_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k0")
    WithSessions.sessions, WithSessions.tokens = set(), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), WithSessions)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    async def use() -> None:
        config = at(server.server_address[1], headers={"Authorization": "Bearer ${KEY}"})
        async with await load_mcp(config) as toolset:
            (tool,) = toolset.tools
            assert (await tool.run({}, ToolContext())).content == "cheap"
            WithSessions.sessions.clear()
            with pytest.raises(ToolError, match="the MCP server shop has ended: Session not found"):
                await tool.run({}, ToolContext())
            assert (await tool.run({}, ToolContext())).content == "cheap"

    try:
        anyio.run(use)
    finally:
        server.shutdown()
        server.server_close()
    assert set(WithSessions.tokens) == {"Bearer k0"}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"}),
        Reply(body=b"{not json", headers={"Content-Type": "application/json"}),
        Reply(status=401, body=b"no"),
        Reply(status=302, headers={"Location": "http://localhost/elsewhere"}),
        Reply(body=b"x" * 100, missing=100, headers={"Content-Type": "application/json"}),
        Reply(hang_up=True),
        Reply(delay=30.0),
    ],
    ids=["html", "broken json", "401", "redirect", "half", "hangs up", "hangs"],
)
def test_what_is_no_mcp_server_is_reported_in_time(reply: Reply) -> None:
    with Loopback(reply) as server:
        port = int(server.url.rpartition(":")[2])
        toolset = anyio.run(load_mcp, at(port, start_timeout=5))
        anyio.run(toolset.aclose)
    assert toolset.tools == ()
    assert toolset.failures["shop"].startswith("the MCP server shop ")
    assert "check " in toolset.failures["shop"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "HTTP 401: check the headers in its configuration"),
        (404, "HTTP 404: check the url in its configuration"),
        (500, "HTTP 500)"),
    ],
)
def test_how_a_server_refused_is_said(status: int, words: str) -> None:
    with Loopback(Reply(status=status)) as server:
        toolset = anyio.run(load_mcp, at(int(server.url.rpartition(":")[2]), start_timeout=20))
        anyio.run(toolset.aclose)
    assert words in toolset.failures["shop"]


def test_an_answer_that_is_too_large_is_not_read_to_its_end() -> None:
    body = b'{"jsonrpc": "2.0", "id": 0, "result": {"x": "' + b"x" * (17 * 1024 * 1024) + b'"}}'
    with Loopback(Reply(body=body, headers={"Content-Type": "application/json"})) as server:
        toolset = anyio.run(load_mcp, at(int(server.url.rpartition(":")[2])))
    assert "larger than 16 MiB" in toolset.failures["shop"]


def test_nobody_listens() -> None:
    toolset = anyio.run(load_mcp, at(free_port()))
    assert "could not be used: " in toolset.failures["shop"]
