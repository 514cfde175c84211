"""Runs as an HTML page: what stands on it, and that nothing that was said becomes part of the page."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from arriero.agent import Agent, Journal, Limits
from arriero.agent.backends import ScriptedModel
from arriero.agent.journal.run_page import run_page
from arriero.tools import Artifact, ToolError, ToolResult, tool

HOSTILE = '</pre></title><script>document.title = "taken"</script><img src=x onerror=alert(1)>'
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    """The elements of a page, its addresses, and the text in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@tool
def plot(what: str) -> ToolResult:
    """Plot."""
    files = (
        Artifact(f"{HOSTILE}.png", "image/png", b"\x89PNG"),
        Artifact("x.svg", "image/svg+xml", b"<svg/>"),
    )
    return ToolResult(HOSTILE, files)  # fmt: skip


@tool
def broken() -> str:
    """Fail."""
    raise ToolError(HOSTILE)


@pytest.fixture
def page(tmp_path: Path) -> str:
    answers = [
        '{"name": "plot", "parameters": {"what": "<b>"}}<|eom_id|>',
        '{"name": "broken", "parameters": {}}<|eom_id|>',
        f"{HOSTILE}<|eot_id|>",
    ]
    journal = Journal(tmp_path / "journal.db")
    with Agent(ScriptedModel(answers), tools=[plot, broken], journal=journal, guards=None) as agent:
        assert agent.run_sync(HOSTILE).stop_reason == "final"
        agent.model = ScriptedModel([answers[1]] * 2)
        agent.run_sync("Go on", limits=Limits(max_steps=1, last_answer=False))
    made = run_page(journal, journal.runs()[::-1], HOSTILE)
    journal.close()
    return made


def test_a_page_holds_all_that_happened_and_nothing_from_elsewhere(page: str) -> None:
    read = Page(page)
    assert not {"script", "link", "iframe", "object"} & set(read.tags)
    assert read.handlers == []
    assert [address[:22] for address in read.addresses] == ["data:image/png;base64,"]
    assert read.text.count(HOSTILE) >= 5
    assert "x.svg (image/svg+xml, 6 bytes)" in read.text
    assert re.search(r"step 1\s+at .*: \d+ tokens read in .*, \d+ written in .*, eom", read.text)
    assert "the limit of 1 steps is reached" in read.text
    assert read.tags.count("section") == 2


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page in")
def test_a_browser_shows_it_and_runs_nothing(page: str, tmp_path: Path) -> None:
    assert CHROMIUM
    file = tmp_path / "run.html"
    file.write_text(page)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run(
        [CHROMIUM, *options, "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert "<title>taken</title>" not in shown
    assert shown.count("<rect") == page.count("<rect") > 4
    assert shown.count("<details") == page.count("<details") > 4
