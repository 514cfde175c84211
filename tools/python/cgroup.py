"""A control group (version 2) around a sandbox, where one may be made: it counts what sampling cannot see.

Files and their meaning are those of Linux's ``Documentation/admin-guide/cgroup-v2.rst``. Whether a directory was
delegated to this user shows only when one is made in it.
"""

import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import Self

from .limits import SandboxLimits

_NAME = "arriero-sandbox-"
_CONTROLLERS = frozenset({"memory", "pids"})
_AGE_S = 60  # younger ones may not have got their first process yet
_GATEWAY_TASKS = 64
# The launcher enters the group before it becomes the sandbox, so that no process of it is ever outside.
_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


class Cgroup:
    """One group, with limits set; ``make`` is the way to have one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(
        cls,
        limits: SandboxLimits,
        *,
        root: Path = Path("/sys/fs/cgroup"),
        membership: Path = Path("/proc/self/cgroup"),
        controllers: frozenset[str] = _CONTROLLERS,
    ) -> Self | None:
        """A group beneath or beside this process's own, or None where none with ``controllers`` may be made."""
        for parent in _parents(root, membership):
            _sweep(parent)
            made = cls(parent / f"{_NAME}{secrets.token_hex(8)}")
            try:
                if not controllers <= set((parent / "cgroup.subtree_control").read_text().split()):
                    continue
                made.path.mkdir(0o755)
                made._limit(limits, controllers)
            except OSError:
                made.remove()
            else:
                return made
        return None

    def _limit(self, limits: SandboxLimits, controllers: frozenset[str]) -> None:
        files = limits.work_mb + limits.tmp_mb + limits.shm_mb + limits.home_mb  # tmpfs is memory, too
        if "memory" in controllers:
            (self.path / "memory.max").write_text(str((limits.memory_mb + files) * 2**20))
            (self.path / "memory.oom.group").write_text("1")
            with contextlib.suppress(FileNotFoundError):  # there is none without swap accounting
                (self.path / "memory.swap.max").write_text("0")
        if "pids" in controllers:
            (self.path / "pids.max").write_text(str(limits.tasks + _GATEWAY_TASKS))

    def around(self, command: list[str]) -> list[str]:
        """The command, to be started inside the group."""
        return ["/bin/sh", "-c", _ENTER, str(self.path), *command]

    def out_of_memory(self) -> bool:
        """Whether the group was ended because it used more memory than it may."""
        try:
            lines = (self.path / "memory.events").read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)

    def kill(self) -> None:
        """End every process in it."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")

    def remove(self, seconds: float = 2.0) -> None:
        """Take it away; waits for the processes in it that are just ending."""
        end = time.monotonic() + seconds
        while True:
            try:
                os.rmdir(self.path)
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() > end:
                    return
                time.sleep(0.01)


def _parents(root: Path, membership: Path) -> list[Path]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    own = next((line[3:] for line in lines if line.startswith("0::/")), None)
    if own is None or "/.." in own:
        return []
    path = root / own.lstrip("/")
    # A group that has processes of its own gives no controllers to children, so mostly it is the one above.
    return [path, *([path.parent] if path != root else [])]


def _sweep(parent: Path) -> None:
    for path in parent.glob(_NAME + "*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _AGE_S:
                os.rmdir(path)  # only an empty one can be removed
