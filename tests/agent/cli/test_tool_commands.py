"""``arriero tools``: listing, showing and calling tools by hand."""

import json
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
        (("call", "nothing"), 2, "'nothing' is not one of"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(args: tuple[str, ...], code: int, said: str) -> None:
    result = run(*args)
    assert result.exit_code == code
    assert said in result.output
