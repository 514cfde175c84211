"""MCP without servers: configuration, names, schemas, and the content of answers."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from arriero.tools import Artifact, ToolResult
from arriero.tools.mcp import HttpServer, MCPConfigError, StdioServer, load_mcp, read_config
from arriero.tools.mcp.schema import usable_schema, wire_names

OPEN = {"type": "object", "properties": {}}


def test_a_file_of_the_customary_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t0")
    file = tmp_path / "mcp.json"
    servers = {
        "files": {"command": "npx", "args": ["-y", "x"], "env": {"K": "${TOKEN}"}, "autoApprove": []},
        "shop": {"type": "http", "url": "https://shop/mcp", "headers": {"A": "${NO_SUCH_NAME:-none}"}},
        "off": {"command": "x", "env": {"K": "${NO_SUCH_NAME}"}, "disabled": True},
    }
    file.write_text(json.dumps({"mcpServers": servers, "other": 1}))
    assert read_config(file) == {
        "files": StdioServer(command="npx", args=("-y", "x"), env={"K": "t0"}),
        "shop": HttpServer(url="https://shop/mcp", headers={"A": "none"}),
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "must hold"),
        ({"mcpServers": []}, "must hold"),
        ({"mcpServers": {"a": 1}}, 'server \'a\' needs either "command" or "url"'),
        ({"mcpServers": {"a": {"command": "x", "url": "http://x"}}}, "needs either"),
        ({"mcpServers": {"a": {"command": ""}}}, "server 'a': command: "),
        ({"mcpServers": {"a": {"command": "x", "args": "y"}}}, "server 'a': args: "),
        ({"mcpServers": {"a": {"url": "file:///etc"}}}, "server 'a': url: "),
        ({"mcpServers": {"a": {"url": "http://x", "type": "sse"}}}, "server 'a': type: "),
        ({"mcpServers": {"a": {"command": "x", "timeout": 0}}}, "server 'a': timeout: "),
        ({"mcpServers": {"a": {"command": "x", "approval": "maybe"}}}, "server 'a': approval: "),
        ({"mcpServers": {"a": {"command": "${NO_SUCH_NAME}"}}}, "variable NO_SUCH_NAME is not set"),
    ],
)
def test_configurations_that_cannot_be_used(data: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps(data))
    with pytest.raises(MCPConfigError) as caught:
        anyio.run(load_mcp, file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MCPConfigError, match="No such file"):
        read_config(tmp_path / "none.json")
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    with pytest.raises(MCPConfigError, match="is not JSON"):
        read_config(tmp_path / "bad.json")


def test_no_servers_are_no_fault() -> None:
    pytest.importorskip("mcp")
    toolset = anyio.run(load_mcp, {"mcpServers": {}})
    assert (toolset.tools, toolset.failures) == ((), {})


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(MCPConfigError, match=r"pip install 'arriero\[mcp\]'"):
        anyio.run(load_mcp, {"mcpServers": {"a": {"command": "x"}}})


def test_names_are_prefixed_where_they_collide() -> None:
    offered = [("a", "find"), ("b", "find"), ("b", "python"), ("b", "só"), ("b", "s?"), ("b", "own")]
    assert list(wire_names(offered, ["own"]).values()) == [
        "a_find",
        "b_find",
        "b_python",
        "b_s_",
        "b_s__2",
        "b_own",
    ]


def test_names_fit_the_wire() -> None:
    names = wire_names([("s", "1st tool"), ("s", ""), ("s", "x" * 80), ("s", "ok.fine-2")], [])
    assert list(names.values()) == ["_1st_tool", "tool", "x" * 64, "ok.fine-2"]
    long = wire_names([("s", "y" * 80), ("t" * 80, "y" * 80), ("t" * 80, "y" * 81)], [])
    assert sorted(map(len, long.values())) == [64, 64, 64]
    assert len(set(long.values())) == 3


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        "object",
        {"type": "string"},
        {"type": 7},
        {"type": "object", "properties": []},
        {"type": "object", "description": "x" * 70_000},
    ],
)
def test_schemas_that_cannot_be_used_let_anything_through(schema: Any) -> None:
    assert usable_schema(schema) == OPEN


def test_schemas_lose_what_could_harm() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"type": "object", "properties": {"a": deep}}
    assert usable_schema(deep) == OPEN
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "pattern": "(a+)+$"},
            "far": {"$ref": "http://169.254.169.254/schema"},
            "near": {"$ref": "#/$defs/Near"},
            "kind": {"enum": [{"pattern": "kept"}]},
            "list": {"type": "array", "items": {"anyOf": [{"pattern": "x"}]}},
        },
        "$defs": {"Near": {"type": "integer"}},
        "required": ["near"],
    }
    assert usable_schema(schema) == {
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "far": {},
            "near": {"$ref": "#/$defs/Near"},
            "kind": {"enum": [{"pattern": "kept"}]},
            "list": {"type": "array", "items": {"anyOf": [{}]}},
        },
        "$defs": {"Near": {"type": "integer"}},
        "required": ["near"],
    }


def written(content: list[dict[str, Any]], **more: Any) -> ToolResult:
    types = pytest.importorskip("mcp.types")
    from arriero.tools.mcp.content import as_result

    return as_result(types.CallToolResult.model_validate({"content": content, **more}), "t")


def test_every_kind_of_content() -> None:
    data = base64.b64encode(b"123").decode()
    result = written(
        [
            {"type": "text", "text": "Hello"},
            {"type": "image", "data": data, "mimeType": "image/png"},
            {"type": "audio", "data": data, "mimeType": "audio/x-unheard-of"},
            {"type": "resource", "resource": {"uri": "file:///a/notes.txt", "text": "some notes"}},
            {"type": "resource", "resource": {"uri": "file:///a/b.bin", "blob": data}},
            {"type": "resource_link", "uri": "https://x/y", "name": "y"},
            {"type": "image", "data": "*", "mimeType": "image/png"},
        ],
        structuredContent={"not": "repeated"},
    )
    assert result.artifacts == (
        Artifact("t-1.png", "image/png", b"123"),
        Artifact("t-2.bin", "audio/x-unheard-of", b"123"),
        Artifact("b.bin", "application/octet-stream", b"123"),
    )
    assert result.content.splitlines() == [
        "Hello",
        "[t-1.png: image/png, 3 bytes]",
        "[t-2.bin: audio/x-unheard-of, 3 bytes]",
        "some notes",
        "[b.bin: application/octet-stream, 3 bytes]",
        "[y: https://x/y]",
        "[t-4: image/png, but the data cannot be read]",
    ]


def test_structured_content_alone_and_errors() -> None:
    assert written([], structuredContent={"é": 1}) == ToolResult('{"é": 1}')
    assert written([]) == ToolResult("")
    assert written([], isError=True) == ToolResult(
        "Error when running tool: the server gave no reason", error=True
    )
