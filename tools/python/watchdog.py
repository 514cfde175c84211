"""Limits that Linux does not count for a whole sandbox: memory, processes, files, CPU time; sampled from outside."""

import contextlib
import ctypes
import os
import platform
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from . import plan
from .kernel_memory import MOST_LOCKS, Descriptors, more_locks_than, queued
from .limits import SandboxLimits
from .process import Child, descendants, living

_BUSY_S, _IDLE_S = 0.1, 0.3
_UNSEEN = 2
_MIB = 2**20
_NR_KCMP, _KCMP_VM = 312 if platform.machine() == "x86_64" else 272, 1
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_TICKS = os.sysconf("SC_CLK_TCK")
_TABLES = ("VmPTE:",)
_RESIDENT = ("RssAnon:", "RssShmem:", "VmSwap:", "HugetlbPages:", *_TABLES)
_PROPORTIONAL = ("Pss:", "SwapPss:", "Private_Hugetlb:", "Shared_Hugetlb:")


class Watchdog:
    """Samples one sandbox in a thread of its own; calls ``exceeded(reason)`` once and ends."""

    def __init__(self, child: Child, limits: SandboxLimits, exceeded: Callable[[str], None]) -> None:
        self._child = child
        self._limits = limits
        self._exceeded = exceeded
        self._stop = threading.Event()
        self._busy = False
        self._cpu_before: float | None = None
        self._unseen = 0
        self._descriptors = Descriptors()
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
            try:
                reason = self._over()
            except Exception as error:  # what cannot be watched must not go on
                reason = f"it could not be watched ({type(error).__name__})"
            if reason:
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
        if self._uses_more_than(limits.memory_mb * _MIB, family):
            return f"more than {limits.memory_mb} MiB of memory"
        if more_locks_than(MOST_LOCKS, set(family)):
            return f"more than {MOST_LOCKS} locks on files"
        # The gateway, and the launcher where there is one, hide themselves and run no code of the model's.
        if too_many := self._descriptors.too_many(family[1 if self._child.places.scratch else 2 :]):
            return too_many
        return self._over_without_walls(family) if self._child.places.scratch else self._over_inside(family)

    def _uses_more_than(self, most: int, family: list[int]) -> bool:
        # The namespaces' first process has no network but theirs, and ends last.
        inside = family[1:2] if self._child.variant.level == "bubblewrap" else []
        waiting = sum(map(queued, inside))
        # The resident sizes count shared pages once per process, so they only decide whether to look closely.
        return resident(family) + waiting > most and proportional(family) + waiting > most

    def _computed(self, family: list[int]) -> float:
        now = cpu_time(family)
        before = self._cpu_before
        if before is None:
            before = self._cpu_before = now
        return now - before

    def _over_inside(self, family: list[int]) -> str | None:
        """Where the sandbox has mounts and a network of its own, which know what they hold."""
        limits, places = self._limits, self._child.places
        writable = (places.work, places.tmp, places.home, plan.SHARED_MEMORY)
        for pid in reversed(family):
            try:
                mounts = [os.statvfs(f"/proc/{pid}/root{path}") for path in writable]
            except OSError:
                continue  # ended, or hides itself
            if sum(mount.f_files - mount.f_ffree for mount in mounts) > limits.inodes:
                return f"more than {limits.inodes} files"
            return f"more than {limits.sockets} sockets" if sockets_near(pid) > limits.sockets else None
        return None

    def _over_without_walls(self, family: list[int]) -> str | None:
        limits, scratch = self._limits, self._child.places.scratch
        assert scratch is not None
        most = limits.work_mb + limits.tmp_mb + limits.home_mb
        held = sockets = 0
        try:
            used, files = directory_use(scratch, limits.inodes)
            if self._child.variant.level != plan.UNSAFE:
                held, sockets = held_open(family[1:], scratch)
        except OSError:
            # Once or twice is a process that is just being started.
            self._unseen += 1
            return "a directory or process that nobody can look into" if self._unseen > _UNSEEN else None
        self._unseen = 0
        if used + held > most * _MIB:
            return f"more than {most} MiB of files"
        if sockets > limits.sockets:
            return f"more than {limits.sockets} sockets"
        return f"more than {limits.inodes} files" if files > limits.inodes else None


def cpu_time(pids: list[int]) -> float:
    """Seconds that the processes, and the children that they have waited for, have computed."""
    ticks = 0
    for pid in pids:
        for line in _lines(f"/proc/{pid}/stat"):
            ticks += sum(map(int, line.rpartition(")")[2].split()[11:15]))
    return ticks / _TICKS


def resident(pids: list[int]) -> int:
    """Bytes of memory in core, in swap, in huge pages or for page tables; what is shared is counted per process."""
    total = 0
    for pid in pids:
        own = _sum_of(f"/proc/{pid}/status", _RESIDENT)
        if not own and (thread := living(pid)):
            own = _sum_of(f"{thread}/status", _RESIDENT)
        total += own
    return total


def proportional(pids: list[int]) -> int:
    """Bytes of the same memory, shared pages divided among those who share them."""
    found: dict[int, int] = {}
    for pid in pids:
        if (thread := living(pid)) is None:
            continue
        own = _sum_of(f"{thread}/smaps_rollup", _PROPORTIONAL)
        # Hidden, its share is taken for all it has.
        own = own + _sum_of(f"{thread}/status", _TABLES) if own else resident([pid])
        # Whoever starts a program is for a moment two processes with one memory.
        if not any(own == theirs and same_memory(pid, other) for other, theirs in found.items()):
            found[pid] = own
    return sum(found.values())


def same_memory(one: int, other: int) -> bool:
    """Whether two processes have one memory and not each its own; no, where Linux does not tell (kcmp(2))."""
    return int(_libc.syscall(_NR_KCMP, one, other, _KCMP_VM, 0, 0)) == 0


def _sum_of(path: str, names: tuple[str, ...]) -> int:
    """Bytes that a file of /proc tells in kB under these names."""
    return sum(int(line.split()[1]) * 1024 for line in _lines(path) if line.startswith(names))


def sockets_near(pid: int) -> int:
    """How many sockets there are in the network namespace of a process; 0 where that cannot be known."""
    first = next(iter(_lines(f"/proc/{pid}/net/sockstat")), "")  # "sockets: used 12"
    return int(first.split()[-1]) if first.startswith("sockets:") else 0


def directory_use(root: str, enough: int) -> tuple[int, int]:
    """Bytes and number of files beneath ``root``; stops counting beyond ``enough`` files.

    OSError for what cannot be counted: a directory that may not be listed, or whose path is too long to be opened.
    """
    used = files = 0
    todo = [root]
    while todo and files <= enough:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    files += 1
                    with contextlib.suppress(FileNotFoundError):
                        used += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed meanwhile
    return used, files


def held_open(pids: list[int], root: str) -> tuple[int, int]:
    """Bytes of files that lay beneath ``root`` and that only open descriptors or mappings keep; number of sockets.

    PermissionError for a process that hides itself, as one does whose program file cannot be read.
    """
    held: dict[int, int] = {}
    sockets: set[int] = set()
    for thread in filter(None, map(living, pids)):
        for path, status in _descriptors(f"{thread}/fd"):
            if stat.S_ISSOCK(status.st_mode):
                sockets.add(status.st_ino)
            elif status.st_nlink == 0 and os.readlink(path).startswith(root):
                held[status.st_ino] = status.st_blocks * 512
        for line in _lines(f"{thread}/maps"):
            if line.endswith(" (deleted)") and root in line:
                addresses, _, offset, _, inode, *_ = line.split()
                first, _, last = addresses.partition("-")
                size = int(last, 16) - int(first, 16) + int(offset, 16)
                held[int(inode)] = max(size, held.get(int(inode), 0))
    return sum(held.values()), len(sockets)


def _descriptors(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    # Those of one thread are all: the filter lets none have descriptors of its own.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends, or closes them
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                yield f"{folder}/{name}", os.stat(f"{folder}/{name}")


def _lines(path: str) -> list[str]:
    # Of a process inside, a name may be any bytes.
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
