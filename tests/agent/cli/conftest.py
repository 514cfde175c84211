import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arriero.agent.cli.chat import Chat
from arriero.agent.cli.runner import Runner
from arriero.agent.cli.session import Session
from arriero.agent.cli.settings import Settings
from arriero.agent.cli.terminal import Terminal


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRIERO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    for name in list(os.environ):
        if (
            name.startswith(("ARRIERO_", "BRAVE_", "TAVILY_", "SEARXNG_", "WOLFRAM_"))
            and name != "ARRIERO_HOME"
        ):
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def monochrome(screen: Screen) -> Terminal:
    return Terminal(screen, interactive=True, colour=False, unicode=True)


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Writes a script of answers and returns the name of its model."""

    def write(*answers: str) -> str:
        path = tmp_path / "answers.txt"
        path.write_text("\n---\n".join(answers), encoding="utf-8")
        return f"script:{path}"

    return write


@pytest.fixture
def session(runner: Runner, script: Callable[..., str]) -> Iterator[Callable[..., Session]]:
    """Starts a session without tools whose model gives the answers."""
    opened: list[Session] = []

    def start(*answers: str, **settings: object) -> Session:
        values = {"model": script(*answers), "tools": (), **settings}
        one = Session(Settings(**values), runner)  # type: ignore[arg-type]
        one.start(lambda fraction: None, lambda: None)
        opened.append(one)
        return one

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def chat(session: Callable[..., Session], monochrome: Terminal) -> Callable[..., Chat]:
    """A conversation on a terminal without colour, whose model gives the answers."""
    return lambda *answers, **settings: Chat(session(*answers, **settings), monochrome)
