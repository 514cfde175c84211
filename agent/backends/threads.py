"""How many processor cores this process may really use."""

import math
import os
from collections.abc import Collection
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cpus(
    cgroup_root: Path = CGROUP_ROOT, own_cgroups: Path = OWN_CGROUPS, topology: Path = TOPOLOGY
) -> int:
    """Cores behind the affinity mask, bounded by the control group's quota; at least 1.

    Cores, not hardware threads: two threads of a core share the units that a matrix product keeps busy. The quota
    is rounded up: with 1.5 processors a second thread still helps. Files and their formats: Linux
    ``Documentation/admin-guide/cgroup-v2.rst`` (``cpu.max``), ``cgroup-v1`` (``cpu.cfs_quota_us``) and
    ``Documentation/admin-guide/cputopology.rst`` (``thread_siblings_list``).
    """
    quota = cpu_quota(cgroup_root, own_cgroups)
    cores = count_cores(_affinity(), topology)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def count_cores(cpus: Collection[int], topology: Path = TOPOLOGY) -> int:
    """How many cores these processors are; a processor whose siblings are not told counts as one."""
    cores = {_text(topology / f"cpu{cpu}/topology/thread_siblings_list").strip() or str(cpu) for cpu in cpus}
    return max(1, len(cores))


def cpu_quota(cgroup_root: Path = CGROUP_ROOT, own_cgroups: Path = OWN_CGROUPS) -> float | None:
    """The smallest processor quota of this process's control group and its ancestors; None without one."""
    quotas = [quota for folder in _group_folders(cgroup_root, own_cgroups) if (quota := _quota(folder))]
    return min(quotas, default=None)


def _affinity() -> Collection[int]:
    try:
        return os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return range(os.cpu_count() or 1)


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
