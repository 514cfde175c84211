"""A sandbox driven synchronously, on an event loop of its own."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from arriero.tools.python import Execution, Sandbox, SandboxLimits

Result = TypeVar("Result")

LIMITS = SandboxLimits(
    wall_s=240, interrupt_grace_s=4, start_s=120, memory_mb=700, address_space_mb=1500, processes=40, tasks=90,
    work_mb=64, tmp_mb=32, shm_mb=32, home_mb=16, inodes=5000, output_chars=200_000, upload_mb=2, download_mb=2,
)  # fmt: skip


PYTHON = os.environ.get("ARRIERO_PYTHON")
"""Another interpreter to run all of these tests' code in, for instance one with more libraries."""


class Kernel:
    """A sandbox driven synchronously."""

    def __init__(
        self,
        level: Any,
        *,
        spare: bool = True,
        limits: SandboxLimits = LIMITS,
        python: str | Path | None = PYTHON,
    ) -> None:
        self.level = level
        self.sandbox = Sandbox(limits, level, spare=spare, preload=(), python=python)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(400)

    def run(self, code: str, wall_s: float | None = None) -> Execution:
        return self.wait(self.sandbox.execute(code, wall_s))

    def close(self) -> None:
        self.wait(self.sandbox.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def needs(level: Any) -> None:
    found = Sandbox.probe(level)
    if found.level is None:
        pytest.skip(f"no sandbox of level {level} here: {found.reason}")
