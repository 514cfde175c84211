"""The Python tool behind the interface that probe files expect: synchronous, on a loop of its own."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from arriero.tools.python import PythonTool, Sandbox
from arriero.tools.python.result import for_model

Result = TypeVar("Result")


@dataclass
class Seen:
    """What reached the caller: text for model and user, images, and the kinds of data that came along."""

    text: str
    status: str
    images: list[tuple[str, bytes]] = field(default_factory=list)
    mimes: list[str] = field(default_factory=list)
    state_lost: bool = False


class Adapter:
    """One tool with one conversation's kernel."""

    sandboxed = True
    files = True

    def __init__(self, level: Any = "auto") -> None:
        self.name = f"arriero, {Sandbox.probe(level).line}"
        self._level = level
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._tool: PythonTool | None = None

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(180)

    @property
    def _sandbox(self) -> Sandbox:
        assert self._tool is not None
        return self._tool.sandbox()

    def start(self) -> None:
        self._tool = PythonTool(level=self._level, spare=False, preload=())
        self._wait(self._sandbox.start())

    def execute(self, code: str, timeout: float = 30) -> Seen:
        shown: list[str] = []
        done = self._wait(self._sandbox.execute(code, timeout, lambda _, text: shown.append(text)))
        text, artifacts = for_model(done, self._sandbox.limits)
        status = "ok" if done.status == "completed" and not done.failed else done.status
        images = [(image.mime, image.data) for image in done.images]
        mimes = [artifact.mime for artifact in artifacts] + ["text/plain"]
        # The stream shows what the result says once more, so the longer of the two stands for both.
        whole = max("".join(shown), done.stdout + done.stderr, key=len)
        return Seen(f"{text}\n{whole}", status, images, mimes, done.state_lost)

    def restart(self) -> None:
        self._wait(self._sandbox.restart())

    def put(self, name: str, data: bytes) -> None:
        self._wait(self._sandbox.put(name, data))

    def get(self, name: str) -> bytes:
        return self._wait(self._sandbox.get(name))

    def ls(self) -> list[tuple[str, int]]:
        return self._wait(self._sandbox.ls())

    def close(self) -> None:
        assert self._tool is not None
        self._wait(self._tool.aclose())


def factory() -> Adapter:
    """An adapter at the level that ARRIERO_CHECK_LEVEL names (default: the best)."""
    return Adapter(os.environ.get("ARRIERO_CHECK_LEVEL", "auto"))
