"""What the sandbox costs beside a plain Jupyter kernel, and what it leaves behind; prints one line of JSON.

Run it as ``python tests/bench/kernel.py [--cells N] [--starts N] [--cycles N] [--ends N] [--level LEVEL]``.
Cells of both kernels take turns in one process and at one priority, so that whatever else the machine does meets
both; wall time, because a call is mostly waiting for other processes. ``holds`` is false when the first call of a
conversation takes more than 5 % of a cold start, when a trivial cell takes more than 1.2 times the plain kernel's,
or when a start and stop, or a caller that is killed, is interrupted or exits at any moment, leaves a process, mount,
open file, thread, socket file or directory.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.provisioning import LocalProvisioner

from arriero.tools import ToolContext
from arriero.tools.python import PythonTool, Sandbox
from arriero.tools.python.inside_boot import NICE
from arriero.tools.python.process import descendants

FIRST = "import numpy as np\nint(np.arange(10).sum())"
TRIVIAL = "1 + 1"
MOST_OF_COLD, MOST_OF_PLAIN = 0.05, 1.2
OWNER = """
import asyncio, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background ignores it
from arriero.tools.python import Sandbox
async def main():
    sandbox = Sandbox(level=sys.argv[1], preload=())
    print("begun", flush=True)
    cell = asyncio.create_task(sandbox.execute("import subprocess; p = subprocess.Popen(['sleep', '300'])"))
    await asyncio.sleep(float(sys.argv[2]))
asyncio.run(main())
"""
ENDS = {"killed": signal.SIGKILL, "interrupted": signal.SIGINT, "exit": None}


class Plain:
    """A kernel as jupyter_client starts it, without any sandbox, at the priority of the sandboxed one."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="plain-kernel-")
        self._manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{self._folder.name}/k")
        self._manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._client: BlockingKernelClient = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        provisioner = self._manager.provisioner
        assert isinstance(provisioner, LocalProvisioner)
        assert provisioner.pgid is not None
        os.setpriority(os.PRIO_PGRP, provisioner.pgid, os.getpriority(os.PRIO_PROCESS, 0) + NICE)

    def run(self, code: str) -> None:
        """Run a cell until its reply and its last message have come."""
        sent = self._client.execute(code)
        while True:
            message = self._client.get_iopub_msg(timeout=60)
            if (
                message["parent_header"].get("msg_id") == sent
                and message["content"].get("execution_state") == "idle"
            ):
                break
        self._client.get_shell_msg(timeout=60)

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()
        self._folder.cleanup()


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


async def say(tool: PythonTool, conversation: str, code: str) -> float:
    begun = time.perf_counter()
    result = await tool.run({"code": code}, ToolContext(conversation_id=conversation))
    assert not result.error, result.content
    return time.perf_counter() - begun


async def starts(level: Any, count: int) -> dict[str, float]:
    """Seconds to a first result: cold, from the warm sandbox, and of a plain kernel that only then imports."""
    cold, warm, plain = [], [], []
    for number in range(count):
        tool = PythonTool(level=level, spare=False)
        cold.append(await say(tool, str(number), FIRST))
        await tool.aclose()
        tool = PythonTool(level=level, spare=False)
        async with Sandbox(level=level, spare=False, preload=()):
            pass  # what is only slow once, as pages of files, is in memory by now
        await tool.prestart()
        await asyncio.wrap_future(tool._warm._ready.started)  # type: ignore[union-attr]
        warm.append(await say(tool, str(number), FIRST))
        await tool.aclose()
        begun = time.perf_counter()
        kernel = await asyncio.to_thread(Plain)
        await asyncio.to_thread(kernel.run, FIRST)
        plain.append(time.perf_counter() - begun)
        await asyncio.to_thread(kernel.close)
    times = {"cold": cold, "first_call": warm, "plain_cold": plain}
    return {name: statistics.median(found) for name, found in times.items()}


async def cells(level: Any, count: int) -> dict[str, float]:
    """Seconds of a trivial cell, both kernels in turns."""
    tool = PythonTool(level=level, spare=False)
    plain = await asyncio.to_thread(Plain)
    ours, theirs = [], []
    for number in range(count + 10):
        sandboxed = await say(tool, "", TRIVIAL)
        unsandboxed = timed(lambda: plain.run(TRIVIAL))
        if number >= 10:
            ours.append(sandboxed)
            theirs.append(unsandboxed)
    await tool.aclose()
    await asyncio.to_thread(plain.close)
    return {"cell": statistics.median(ours), "plain_cell": statistics.median(theirs)}


def left() -> dict[str, set[str]]:
    """What there is of each kind that a sandbox could leave."""
    temporary = tempfile.gettempdir()
    return {
        "processes": {str(pid) for pid in descendants(os.getpid())},
        "mounts": set(Path("/proc/self/mountinfo").read_text().splitlines()),
        "files": {
            os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _open(name)
        },
        "threads": {thread.name for thread in threading.enumerate()},
        "directories": set(os.listdir(temporary)),
        "sockets": {
            line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines() if temporary in line
        },
    }


def _open(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}") and int(descriptor) > 2


async def cycles(level: Any, count: int) -> None:
    """Start and stop: after a cell, in the middle of one, in the middle of a start, and after a death."""
    for number in range(count):
        sandbox = Sandbox(level=level, spare=number % 5 == 0, preload=())
        match number % 4:
            case 0:
                await sandbox.execute("import subprocess; p = subprocess.Popen(['sleep', '300'])")
            case 1:
                cell = asyncio.create_task(sandbox.execute("while True: pass"))
                await asyncio.sleep(random.random())
                cell.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await cell
            case 2:
                await sandbox.prestart()
                await asyncio.sleep(random.random() * 0.5)
            case _:
                await sandbox.execute("import os; os._exit(1)")
        await sandbox.close()


def ends(level: str, count: int) -> None:
    """End callers at any moment of their life: by SIGKILL, by Ctrl-C, and by themselves, with nothing closed."""
    for number in range(count):
        how, end = list(ENDS.items())[number % len(ENDS)]
        life = random.random() * 2
        command = [sys.executable, "-c", OWNER, level, str(300 if end else life)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as owner:
            assert owner.stdout is not None
            owner.stdout.readline()
            found, over = set(), time.monotonic() + life
            while owner.poll() is None and (time.monotonic() < over or not end):
                found |= set(descendants(owner.pid)) - {owner.pid}
                time.sleep(0.02)
            if end:
                owner.send_signal(end)
        over = time.monotonic() + 10
        while time.monotonic() < over and any(map(_running, found)):
            time.sleep(0.02)
        for pid in filter(_running, found):
            raise SystemExit(f"process {pid} outlived its caller ({how})")


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def remains(before: dict[str, set[str]]) -> dict[str, list[str]]:
    """What there is more than before, ten seconds later at most."""
    end = time.monotonic() + 10
    while True:
        more = {kind: sorted(now - before[kind]) for kind, now in left().items()}
        more = {kind: names for kind, names in more.items() if names}
        if not more or time.monotonic() > end:
            return more
        time.sleep(0.1)


def main() -> int:
    """Measure, print, and say whether the goals hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=150)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--cycles", type=int, default=8)
    parser.add_argument("--ends", type=int, default=6)
    parser.add_argument("--level", choices=["auto", "bubblewrap", "landlock"], default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="arriero-bench-") as folder:
        # Everything of this run is made in a place of its own, so that nobody else's comes and goes there.
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        return measure(options)


def measure(options: argparse.Namespace) -> int:
    """Do what was asked for and print the row."""
    level = Sandbox.probe(options.level).level
    if level is None:
        raise SystemExit(Sandbox.probe(options.level).line)
    figures = {**asyncio.run(starts(level, options.starts)), **asyncio.run(cells(level, options.cells))}
    before = left()  # only now: jupyter_client, beside which this measures, keeps some things for good
    asyncio.run(cycles(level, options.cycles))
    ends(level, options.ends)
    more = remains(before)
    first = figures["first_call"] / figures["cold"]
    call = figures["cell"] / figures["plain_cell"]
    row = {
        "level": level,
        **{f"{name}_ms": round(seconds * 1000, 2) for name, seconds in figures.items()},
        "first_call_of_cold": round(first, 4),
        "cell_of_plain": round(call, 3),
        "cycles": options.cycles,
        "ends": options.ends,
        "left": more,
        "holds": first <= MOST_OF_COLD and call <= MOST_OF_PLAIN and not more,
    }
    print(json.dumps(row))
    return 0 if row["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
