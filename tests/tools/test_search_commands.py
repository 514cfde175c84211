"""Search and documents as the command line sets them up."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from loopback import Loopback, json_reply, searxng_answer

from arriero.agent.cli.app import cli
from arriero.agent.cli.runner import Runner
from arriero.agent.cli.session import Session
from arriero.agent.cli.settings import Settings


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("ARRIERO_", "BRAVE_", "TAVILY_", "SEARXNG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARRIERO_HOME", str(tmp_path / "home"))


def search(*options: str) -> Result:
    return CliRunner().invoke(cli, ["tools", "call", "search", "--arg", "query=gold", *options])


def test_options_reach_the_provider_and_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(json_reply(searxng_answer("gold"))) as server:
        monkeypatch.setenv("SEARXNG_URL", server.url)
        results = [search("--safe-search", "strict", "--freshness", "week") for _ in range(2)]
        assert len(server.requests) == 1
        monkeypatch.setenv("ARRIERO_FRESHNESS", "day")
        monkeypatch.setenv("ARRIERO_SEARCH_RESULTS", "1")
        last = search()
    first, second = server.requests
    assert {("safesearch", "2"), ("time_range", "week")} <= set(first.query)
    assert ("time_range", "day") in second.query
    assert results[0].stdout == results[1].stdout
    assert len(json.loads(results[0].stdout)["top_k"]) == 3
    assert len(json.loads(last.stdout)["top_k"]) == 1


def test_settings_that_are_none_are_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRIERO_SEARCH_CACHE", "an hour")
    monkeypatch.setenv("SEARXNG_URL", "http://127.0.0.1:1")
    result = search()
    assert result.exit_code == 6
    assert "ARRIERO_SEARCH_CACHE has to be a number of seconds" in result.stderr


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


def test_documents_are_indexed_at_the_start(tmp_path: Path, runner: Runner) -> None:
    pytest.importorskip("pypdf")
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(300):
        (docs / f"{number}.md").write_text("The mule train crosses the pass in May.\n" * 20)
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    script = tmp_path / "answers.txt"
    script.write_text("Hi.")
    session = Session(Settings(model=f"script:{script}", tools=(), docs=docs), runner)
    try:
        session.start()
        assert any("cannot be searched: 1, such as broken.pdf (" in line for line in session.toolbox.notices)
        assert session.toolbox.doing == ""
        assert (tmp_path / "home" / "cache" / "documents").is_dir()
    finally:
        session.close()
