"""How many processors this process may really use."""

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cpus(cgroup_root: Path = CGROUP_ROOT, own_cgroups: Path = OWN_CGROUPS) -> int:
    """Processors in the affinity mask, bounded by the control group's quota; at least 1.

    The quota is rounded up: with 1.5 processors a second thread still helps. Files and their formats:
    Linux ``Documentation/admin-guide/cgroup-v2.rst`` (``cpu.max``) and ``cgroup-v1`` (``cpu.cfs_quota_us``).
    """
    quota = cpu_quota(cgroup_root, own_cgroups)
    cpus = _affinity()
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def cpu_quota(cgroup_root: Path = CGROUP_ROOT, own_cgroups: Path = OWN_CGROUPS) -> float | None:
    """The smallest processor quota of this process's control group and its ancestors; None without one."""
    quotas = [quota for folder in _group_folders(cgroup_root, own_cgroups) if (quota := _quota(folder))]
    return min(quotas, default=None)


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _group_folders(root: Path, own: Path) -> list[Path]:
    """Folders that may hold a quota: our group and its ancestors, of version 2 and of version 1's ``cpu``."""
    folders = [root, root / "cpu"]
    for line in _text(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        for part in Path(path.lstrip("/")).parts:
            if part == "..":  # a group outside this namespace: nothing of it is mounted here
                break
            base /= part
            folders.append(base)
    return folders


def _quota(folder: Path) -> float | None:
    limit, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not limit:
        limit = _text(folder / "cpu.cfs_quota_us").strip()
        period = _text(folder / "cpu.cfs_period_us").strip()
    try:
        quota = int(limit) / int(period or 100_000)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return None
    return quota if quota > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
