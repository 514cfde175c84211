"""What one sandbox is to be: its variant, paths and environment, and what the boot code is told."""

import base64
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from . import seccomp
from .errors import SandboxUnavailable
from .interpreter import OWN, Interpreter
from .limits import SandboxLimits

LevelName = Literal["bubblewrap", "landlock", "unsafe-none"]
UNSAFE: Final = "unsafe-none"
"""The level without any wall: only for those who ask for it by this name, and never found by trying."""

LIBRARIES = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32")
SETTINGS = tuple(
    f"/etc/{name}"
    for name in (
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "alternatives",
        "fonts",
        "localtime",
        "mime.types",
    )
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_TERMINALS = ("/dev/tty", "/dev/ptmx")
_PROC_FILES = ("meminfo", "cpuinfo", "stat", "filesystems", "loadavg", "sys/vm", "sys/kernel/pid_max")
# Not all of a process's own directory: net, there and in task, lists sockets and addresses of the host. Nor its
# links, which would let in what they lead to.
_OF_ITSELF = (
    "status", "stat", "statm", "maps", "smaps", "smaps_rollup", "cmdline", "comm", "environ", "auxv", "fd", "fdinfo",
    "limits", "io", "cgroup", "mounts", "mountinfo", "oom_score", "oom_score_adj", "schedstat", "uid_map", "gid_map",
)  # fmt: skip
SHARED_MEMORY = "/dev/shm"  # noqa: S108
_NOT_INSIDE = (
    "/etc/shadow",
    "/etc/machine-id",
    "/sys/class",
    "/run/user",
    "/var/tmp",  # noqa: S108 - looked for, not used
    "~/.bashrc",
    "~/.profile",
    "~/.ssh",
    "~/.bash_history",
)
_FIRST_UNUSED_UID, _UNUSED_UIDS = 61_184, 4_336  # systemd's range for dynamic users: nobody owns files there
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to build the walls.

    ``user_namespace`` is False for root, who mounts as root and drops to ``uid``. ``nested_lock`` forbids
    further user namespaces by a limit of the kernel, besides the filter; ``own_proc`` mounts a fresh /proc.
    ``python`` is what runs behind them.
    """

    level: LevelName
    python: Interpreter = OWN
    user_namespace: bool = True
    nested_lock: bool = True
    own_proc: bool = True

    def __str__(self) -> str:
        if self.level != "bubblewrap":
            return self.level
        parts = (("nested lock", self.nested_lock or not self.user_namespace), ("/proc", self.own_proc))
        without = [name for name, on in parts if not on]
        how = "user namespace" if self.user_namespace else "started by root, unused uid"
        return f"bubblewrap ({how}{', without ' + ' and '.join(without) if without else ''})"


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are for the process inside; ``scratch`` is their host directory without namespaces."""

    work: str
    tmp: str
    home: str
    sockets: str
    scratch: str | None = None


def scratch_places(root: str) -> Places:
    """Where things are beneath a private directory of the host, which the boot code makes and removes."""
    work, tmp, home, sockets = (f"{root}/{name}" for name in ("work", "tmp", "home", "k"))
    return Places(work, tmp, home, sockets, scratch=root)


def work_directory(python: Interpreter) -> str:
    """The first name for the work directory that no part of the interpreter lies in."""
    taken = [name for _, name in python.roots()]
    for candidate in ("/work", "/workspace", "/sandbox"):
        if not any(name == candidate or name.startswith(candidate + "/") for name in taken):
            return candidate
    raise SandboxUnavailable(
        "Python lives below /work, /workspace and /sandbox; move its environment elsewhere"
    )


def environment(places: Places, python: Interpreter) -> dict[str, str]:
    """All variables that exist inside."""
    path = f"{os.path.dirname(python.executable)}:/usr/local/bin:/usr/bin:/bin"
    threads = str(_THREADS)
    return {
        "PATH": path, "HOME": places.home, "USER": "user", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
        "TMPDIR": places.tmp, "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": f"{places.home}/.mpl", "IPYTHONDIR": f"{places.home}/.ipython",
        "JUPYTER_RUNTIME_DIR": f"{places.tmp}/.jupyter",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1",
        "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }  # fmt: skip


def unused_uid() -> int:
    """A user id that owns nothing here and runs nothing, for root to drop to."""
    busy = {_owner(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    start = secrets.randbelow(_UNUSED_UIDS)
    for offset in range(_UNUSED_UIDS):
        uid = _FIRST_UNUSED_UID + (start + offset) % _UNUSED_UIDS
        if uid not in busy:
            return uid
    raise SandboxUnavailable("every user id that could be dropped to runs something")


def _owner(process: str) -> int:
    try:
        return os.stat(f"/proc/{process}").st_uid
    except OSError:
        return -1


def configuration(
    variant: Variant,
    limits: SandboxLimits,
    places: Places,
    uid: int | None,
    *,
    preload: tuple[str, ...],
    probe: bool,
) -> dict[str, Any]:
    """What the boot code is told."""
    namespaces = variant.level == "bubblewrap"
    outer, inner = _filters(variant)
    return {
        "probe": probe,
        "namespaces": namespaces,
        "uid": uid,
        "work": places.work,
        "sockets": places.sockets,
        "scratch": places.scratch,
        "directories": [places.work, places.tmp, places.home, places.sockets] if places.scratch else [],
        "start_s": limits.start_s,
        "preload": list(preload),
        "rlimits": _rlimits(variant, limits, uid),
        "walls": variant.level != UNSAFE,
        "no_sockets": variant.level == "landlock",
        "gateway_filter": outer,
        "kernel_filter": inner,
        "landlock": _landlock(variant, places),
        "must_not_exist": [os.path.expanduser(path) for path in _NOT_INSIDE] if namespaces else [],
        "must_not_list": ["/"] if namespaces else ["/", "/etc", os.path.expanduser("~")],
        "cell": {
            "output_chars": limits.output_chars,
            "images": limits.images,
            "image_bytes": limits.image_mb * 2**20,
        },
    }


def _filters(variant: Variant) -> tuple[str, str]:
    if variant.level == UNSAFE:
        return "", ""
    namespaces = variant.level == "bubblewrap"
    families = seccomp.Policy().families
    outer = seccomp.Policy(families if namespaces else (seccomp.AF_UNIX,), boot=True)
    inner = seccomp.Policy(families if namespaces else (), namespaces)
    programs = seccomp.build(outer), seccomp.build(inner)
    return base64.b64encode(programs[0]).decode(), base64.b64encode(programs[1]).decode()


def _rlimits(variant: Variant, limits: SandboxLimits, uid: int | None) -> Mapping[str, int | None]:
    # Counted per user and user namespace: of no use to host root, and shared with the caller without a
    # namespace.
    alone = uid is not None or (variant.level == "bubblewrap" and variant.user_namespace)
    tasks = limits.tasks + (0 if alone else _tasks_of_user())
    return {
        "CORE": 1,  # not 0: only at 1 does Linux start no crash handler, which would be the host's (core(5))
        "RTPRIO": 0,
        "NICE": 0,
        "NOFILE": limits.open_files,
        "NPROC": tasks,
        "FSIZE": limits.file_mb * 2**20,
        "MEMLOCK": 2**20,
        "SIGPENDING": 1024,  # timers, too; without a user of its own, the caller's are fewer by so many
        "AS": limits.address_space_mb * 2**20,
    }


def _tasks_of_user() -> int:
    own, total = os.getuid(), 0
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _owner(entry) == own:
            try:
                total += len(os.listdir(f"/proc/{entry}/task"))
            except OSError:
                continue
    return total


def _landlock(variant: Variant, places: Places) -> dict[str, Any]:
    roots = [real for real, _ in variant.python.roots()]
    if variant.level == "bubblewrap":
        return {
            "abi": 0,
            "read": [*LIBRARIES, "/etc", "/proc", *roots],
            "write": [places.work, places.tmp, places.home, SHARED_MEMORY, "/dev/pts"],
            "devices": [*DEVICES, *_TERMINALS],
            "no_tcp": False,
        }
    return {
        "abi": 6,
        "read": [
            *LIBRARIES,
            *SETTINGS,
            *(f"/proc/{name}" for name in _PROC_FILES),
            *(f"/proc/self/{name}" for name in _OF_ITSELF),
            *roots,
        ],
        "write": [places.work, places.tmp, places.home, places.sockets],
        "devices": list(DEVICES),
        "no_tcp": True,
    }
