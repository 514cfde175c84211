"""Limits that Linux does not count for a whole sandbox: memory, processes, files, CPU time; sampled from outside."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from . import plan
from .limits import SandboxLimits
from .process import Child, descendants

_BUSY_S, _IDLE_S = 0.1, 0.3
_MIB = 2**20
_TICKS = os.sysconf("SC_CLK_TCK")


class Watchdog:
    """Samples one sandbox in a thread of its own; calls ``exceeded(reason)`` once and ends."""

    def __init__(self, child: Child, limits: SandboxLimits, exceeded: Callable[[str], None]) -> None:
        self._child = child
        self._limits = limits
        self._exceeded = exceeded
        self._stop = threading.Event()
        self._busy = False
        self._cpu_before: float | None = None
        threading.Thread(target=self._watch, name="arriero-watchdog", daemon=True).start()

    def stop(self) -> None:
        """End at the next sample."""
        self._stop.set()

    def cell_begins(self) -> None:
        """Look more often, and count CPU time anew from the next look on."""
        self._cpu_before = None
        self._busy = True

    def cell_ends(self) -> None:
        """Look less often; what the cell left running is still counted to it."""
        self._busy = False

    def _watch(self) -> None:
        while not self._stop.wait(_BUSY_S if self._busy else _IDLE_S) and self._child.alive():
            if reason := self._over():
                if not self._stop.is_set():
                    self._exceeded(reason)
                return

    def _over(self) -> str | None:
        limits = self._limits
        family = descendants(self._child.pid)
        if len(family) > limits.processes:
            return f"more than {limits.processes} processes"
        if limits.cpu_s is not None and self._computed(family) > limits.cpu_s:
            return f"more than {limits.cpu_s:g} s of CPU time"
        most = limits.memory_mb * _MIB
        # The resident sizes count shared pages once per process, so they only decide whether to look closely.
        if resident(family) > most and proportional(family) > most:
            return f"more than {limits.memory_mb} MiB of memory"
        return self._over_on_disk(family)

    def _computed(self, family: list[int]) -> float:
        now = cpu_time(family)
        before = self._cpu_before
        if before is None:
            before = self._cpu_before = now
        return now - before

    def _over_on_disk(self, family: list[int]) -> str | None:
        limits, places = self._limits, self._child.places
        if places.scratch is not None:
            used, files = directory_use(places.scratch, limits.inodes)
            if used > (limits.work_mb + limits.tmp_mb + limits.home_mb) * _MIB:
                return f"more than {limits.work_mb + limits.tmp_mb + limits.home_mb} MiB of files"
            return f"more than {limits.inodes} files" if files > limits.inodes else None
        writable = (places.work, places.tmp, places.home, plan.SHARED_MEMORY)
        for pid in reversed(family):
            try:
                mounts = [os.statvfs(f"/proc/{pid}/root{path}") for path in writable]
            except OSError:
                continue  # ended, or hides itself
            files = sum(mount.f_files - mount.f_ffree for mount in mounts)
            return f"more than {limits.inodes} files" if files > limits.inodes else None
        return None


def cpu_time(pids: list[int]) -> float:
    """Seconds that the processes, and the children that they have waited for, have computed."""
    ticks = 0
    for pid in pids:
        for line in _lines(f"/proc/{pid}/stat"):
            ticks += sum(map(int, line.rpartition(")")[2].split()[11:15]))
    return ticks / _TICKS


def resident(pids: list[int]) -> int:
    """Bytes of anonymous and shared memory in core, shared pages counted once per process."""
    total = 0
    for pid in pids:
        for line in _lines(f"/proc/{pid}/status"):
            if line.startswith(("RssAnon", "RssShmem")):
                total += int(line.split()[1]) * 1024
    return total


def proportional(pids: list[int]) -> int:
    """Bytes of memory in core, shared pages divided among those who share them."""
    total = 0
    for pid in pids:
        rollup = _lines(f"/proc/{pid}/smaps_rollup")
        total += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
        if not rollup:  # hidden, so its share is taken for all it has
            total += resident([pid])
    return total


def directory_use(root: str, enough: int) -> tuple[int, int]:
    """Bytes and number of files beneath ``root``; stops counting beyond ``enough`` files."""
    used = files = 0
    for directory, names, others in os.walk(root):
        for name in (*names, *others):
            files += 1
            try:
                used += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except OSError:
                continue
        if files > enough:
            break
    return used, files


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
