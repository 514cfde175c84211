"""``arriero tools``: listing, showing and calling tools by hand."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arriero.agent.cli.app import cli


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["tools", *args])


def test_list_says_what_works_and_what_the_others_need() -> None:
    result = run("list")
    lines = dict(line.split(None, 1) for line in result.output.splitlines())
    assert result.exit_code == 0
    assert list(lines) == ["python", "search", "wolfram", "documents", "fetch"]
    assert "BRAVE_SEARCH_API_KEY" in lines["search"]
    assert lines["fetch"].split() == ["fetch_page", "ready"]


def test_tools_are_known_by_both_their_names() -> None:
    assert json.loads(run("show", "fetch_page").output)["name"] == "fetch_page"


MCP = Path(__file__).parents[2] / "tools" / "mcp_plain_server.py"


@pytest.fixture
def servers(tmp_path: Path) -> str:
    """A configuration with one server that works and one that does not."""
    pytest.importorskip("mcp")
    working = {"command": sys.executable, "args": ["-S", str(MCP)]}
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"plain": working, "bad": {"command": "/no/such/program"}}}))
    return str(file)


def test_tools_of_servers(servers: str) -> None:
    listed = run("list", "--mcp", servers)
    lines = [line.split(None, 1) for line in listed.stdout.splitlines()]
    assert ["echo", "ready, from the MCP server plain"] in lines
    assert ["die", "ready, from the MCP server plain, asks for approval"] in lines
    assert "no tools of the MCP server bad: " in listed.stderr
    called = run("call", "echo", "--mcp", servers, "--arg", "text=hola")
    assert (called.exit_code, called.stdout) == (0, "hola\n")
    # Whoever types a call by hand has approved it.
    assert "out of coffee" in run("call", "die", "--mcp", servers).output
    assert "did you mean 'echo'?" in run("show", "ecko", "--mcp", servers).output


def examined(script: Path, servers: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", "-v", "--no-tools", "-m", f"script:{script}", "--mcp", servers])


def test_the_doctor_says_which_servers_do_not_start(servers: str, tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("x")
    sick = examined(script, servers)
    assert "MCP: plain offers " in sick.stdout
    assert (
        "MCP: the MCP server bad ended before it was ready (run the command of its configuration by hand"
        in (sick.stdout)
    )
    assert "/no/such/program: No such file or directory" in sick.stdout
    assert sick.exit_code == 6
    missing = examined(script, str(tmp_path / "none.json"))
    assert "none.json: No such file or directory" in missing.stdout
    assert missing.exit_code == 6


def test_show_prints_what_the_model_is_given() -> None:
    shown = json.loads(run("show", "fetch").output)
    assert shown["name"] == "fetch_page"
    assert "url" in shown["parameters"]["properties"]


def test_call_prints_the_result(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("The mule train crosses the pass in May.\n")
    result = run("call", "documents", "--docs", str(tmp_path), "--arg", "query=mule", "--arg", "limit=1")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["top_k"][0]["file"] == "notes.md"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("call", "search", "--arg", "query=x"), 6, "BRAVE_SEARCH_API_KEY"),
        (("call", "documents", "--arg", "query=x"), 6, "--docs DIR"),
        (("call", "documents", "--docs", "/nowhere", "--arg", "query=x"), 6, "is not a folder"),
        (("call", "fetch", "--arg", "url=http://127.0.0.1/"), 1, "Error when running tool"),
        (("call", "fetch"), 1, "'url' is a required property"),
        (("call", "fetch", "--arg", "nonsense"), 2, "not of the form key=value"),
        (
            ("call", "fetch", "--arg", "ulr=http://x"),
            2,
            "fetch_page has no argument 'ulr'; did you mean 'url'?",
        ),
        (("call", "nothing"), 2, "no tool is called 'nothing'; there are python, search, wolfram"),
        (("show", "fetsh"), 2, "did you mean 'fetch'? (tools of MCP servers need --mcp FILE)"),
        (("list", "--mcp", "/nowhere/mcp.json"), 6, "/nowhere/mcp.json: No such file"),
        (("list", "--freshness", "decade"), 2, "'decade' is not one of"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(args: tuple[str, ...], code: int, said: str) -> None:
    result = run(*args)
    assert result.exit_code == code
    assert said in result.output
