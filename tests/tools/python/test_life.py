"""Starting, cancelling, restarting, ending: nothing waits too long and nothing stays behind."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from kernel import LIMITS, Kernel, needs

from arriero.tools import ToolContext, ToolError
from arriero.tools.python import PythonTool, Sandbox, SandboxUnavailable
from arriero.tools.python.process import descendants, sweep_scratch


def of_mine() -> set[int]:
    return set(descendants(os.getpid())) - {os.getpid()}


def gone(pids: set[int], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(running(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_a_conversation_with_the_tool(level: str) -> None:
    needs(level)

    async def talk() -> None:
        before = of_mine()
        tool = PythonTool(LIMITS, level, spare=False, preload=())  # type: ignore[arg-type]
        seen: list[tuple[str, str]] = []
        try:
            await tool.prestart()
            context = ToolContext(on_output=lambda stream, text: seen.append((stream, text)))
            result = await tool.run({"code": "print(23 * 47)"}, context)
            assert result.content == "completed\n[stdout]\n1081\n[/stdout]"
            assert not result.error
            assert "".join(text for _, text in seen) == "1081\n"
            assert (await tool.run({"code": "1/0"}, context)).error
            with pytest.raises(ToolError, match="string"):
                await tool.run({"code": 5}, context)
            await cancelled_cell(tool)
            started = of_mine() - before
            assert started
        finally:
            began = time.monotonic()
            await tool.aclose()
            assert time.monotonic() - began < 10
            await tool.aclose()
        assert gone(started)
        with pytest.raises(SandboxUnavailable, match="closed"):
            await tool.run({"code": "1"}, context)

    asyncio.run(talk())


async def cancelled_cell(tool: PythonTool) -> None:
    """A cancelled call returns at once, the loop is never blocked, and the kernel goes on."""
    await tool.run({"code": "kept = 5"}, ToolContext())
    running_cell = asyncio.create_task(tool.run({"code": "while True: pass"}, ToolContext()))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    running_cell.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running_cell
    assert time.monotonic() - began < 2  # 0.15 s on a machine that is not busy
    after = await tool.run({"code": "print(2 + 2)"}, ToolContext())
    assert "[stdout]\n4\n[/stdout]" in after.content


def test_interrupt_and_restart(best_level: str) -> None:
    made = Kernel(best_level, spare=False)
    try:
        made.run("z = 3")

        async def interrupted() -> object:
            cell = asyncio.create_task(made.sandbox.execute("import time; time.sleep(100)"))
            await asyncio.sleep(0.5)
            await made.sandbox.interrupt()
            return await cell

        made.wait(interrupted())
        made.wait(made.sandbox.restart())
        assert "NameError" in made.run("z").stderr
    finally:
        made.close()


def test_a_kernel_that_ended_between_cells_is_told(best_level: str) -> None:
    made = Kernel(best_level, spare=False)
    try:
        made.run("import threading, os\nthreading.Timer(0.5, lambda: os._exit(1)).start()")
        time.sleep(2)
        done = made.run("print(1)")
        assert "1" in done.stdout or done.state_lost
        assert done.note
    finally:
        made.close()


OWNER = """
import asyncio, sys
from arriero.tools.python import Sandbox
async def main():
    sandbox = Sandbox(level=sys.argv[1], preload=())
    await sandbox.execute("import subprocess; p = subprocess.Popen(['sleep', '300'])")
    print("up", flush=True)
    await asyncio.sleep(300)
asyncio.run(main())
"""


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_a_killed_owner_takes_everything_along(level: str, tmp_path: Path) -> None:
    needs(level)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TMPDIR": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, level], stdout=subprocess.PIPE, env=environment, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        family = set(descendants(owner.pid)) - {owner.pid}
        assert len(family) >= 3
        owner.send_signal(signal.SIGKILL)
    assert gone(family)
    end = time.monotonic() + 10
    while time.monotonic() < end and os.listdir(tmp_path):
        time.sleep(0.1)
    assert os.listdir(tmp_path) == []


def test_abandoned_scratch_is_swept() -> None:
    old = Path(tempfile.mkdtemp(prefix="arriero-sandbox-"))
    (old / "work").mkdir()
    young = Path(tempfile.mkdtemp(prefix="arriero-sandbox-"))
    os.utime(old, (0, 0))
    sweep_scratch()
    assert not old.exists()
    assert young.exists()
    young.rmdir()


def test_closing_while_starting(best_level: str) -> None:
    async def hasty() -> None:
        before = of_mine()
        for pause in (0.0, 0.02, 0.1):
            sandbox = Sandbox(LIMITS, best_level, preload=())  # type: ignore[arg-type]
            await sandbox.prestart()
            await asyncio.sleep(pause)
            await sandbox.close()
        assert gone(of_mine() - before)

    asyncio.run(hasty())
