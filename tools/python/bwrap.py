"""The bubblewrap command line: new namespaces, a minimal read-only root, only sized tmpfs writable."""

import functools
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import PurePosixPath

from . import plan
from .errors import SandboxUnavailable
from .interpreter import Interpreter
from .limits import SandboxLimits
from .plan import LIBRARIES, SETTINGS, Places, Variant, environment, work_directory

# What tells of this machine rather than of the sandbox.
_PROC_FILES_HIDDEN = (
    "cmdline", "config.gz", "consoles", "diskstats", "interrupts", "iomem", "ioports", "kallsyms", "key-users",
    "keys", "latency_stats", "mdstat", "modules", "partitions", "sched_debug", "swaps", "sys/kernel/random/boot_id",
    "timer_list", "vmallocinfo",
)  # fmt: skip
_PROC_FOLDERS_HIDDEN = ("acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "tty")
_USER = 1000


@functools.cache
def program() -> tuple[str, frozenset[str]]:
    """The bwrap executable and the options it knows; raises SandboxUnavailable where it cannot be used."""
    path = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin") or shutil.which("bwrap")
    if path is None:
        raise SandboxUnavailable("bubblewrap is not installed")
    if os.stat(path).st_mode & stat.S_ISUID:
        raise SandboxUnavailable(
            f"{path} is setuid root, which arriero does not use; install the ordinary package"
        )
    try:
        asked = [path, "--help"]
        shown = subprocess.run(asked, capture_output=True, text=True, timeout=10, env={}, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(f"{path} does not run: {error}") from error
    return path, frozenset(word for word in shown.stdout.split() if word.startswith("--"))


def places(python: Interpreter) -> Places:
    """Where things are inside."""
    return Places(work=work_directory(python), tmp="/tmp", home="/home/user", sockets="/tmp/.k")  # noqa: S108


def memory_file(data: bytes) -> int:
    """An anonymous file with this content, for the child to inherit; the caller closes it."""
    descriptor = os.memfd_create("arriero", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def arguments(variant: Variant, limits: SandboxLimits, uid: int | None) -> tuple[list[str], list[int]]:
    """bwrap's options and the descriptors that they name, which the caller passes on and closes."""
    inside = places(variant.python)
    descriptors: list[int] = []

    def content(text: str, path: str) -> list[str]:
        descriptors.append(memory_file(text.encode()))
        return ["--perms", "0444", "--ro-bind-data", str(descriptors[-1]), path]

    options = [*_namespaces(variant), "--hostname", "sandbox", "--die-with-parent", "--new-session"]
    options += ["--cap-drop", "ALL"]
    if variant.user_namespace:
        # As init, nobody inside can signal the gateway, and its end takes every process along. A root
        # launcher stays init itself: without CAP_KILL it could not pass its own end on to a child of another
        # uid.
        options += ["--as-pid-1"]
    else:
        options += [word for cap in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{cap}")]
    options += [
        *_system(),
        *_proc_and_dev(variant),
        *_writable(inside, limits, variant),
        *_interpreter(variant.python),
    ]
    user = uid if uid is not None else _USER
    options += content(
        f"root:x:0:0::/:/bin/false\nuser:x:{user}:{user}::{inside.home}:/bin/sh\n", "/etc/passwd"
    )
    options += content(f"root:x:0:\nuser:x:{user}:\n", "/etc/group")
    options += content("127.0.0.1 localhost sandbox\n::1 localhost\n", "/etc/hosts")
    options += content("hosts: files\npasswd: files\ngroup: files\n", "/etc/nsswitch.conf")
    options += content("", "/etc/resolv.conf")
    for path in SETTINGS:
        if os.path.exists(path):
            options += ["--ro-bind-try", os.path.realpath(path), path]
    options += ["--clearenv"]
    for name, value in environment(inside, variant.python).items():
        options += ["--setenv", name, value]
    # bwrap leaves / and /dev writable without a size.
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", inside.work]
    return options, descriptors


def _namespaces(variant: Variant) -> list[str]:
    # Not --unshare-all, which goes on without a user namespace where there is none to be had.
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if variant.user_namespace:
        options = ["--unshare-user", *options, "--uid", str(_USER), "--gid", str(_USER)]
        if variant.nested_lock:
            options += ["--disable-userns", "--assert-userns-disabled"]
    return options


def _system() -> Iterator[str]:
    for path in LIBRARIES:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)


def _proc_and_dev(variant: Variant) -> Iterator[str]:
    if variant.own_proc:
        yield from ("--proc", "/proc")
        for name in _PROC_FILES_HIDDEN:
            if os.path.exists(f"/proc/{name}"):
                yield from ("--ro-bind-try", "/dev/null", f"/proc/{name}")
        for name in _PROC_FOLDERS_HIDDEN:
            if os.path.isdir(f"/proc/{name}"):
                yield from ("--perms", "0555", "--size", "4096", "--tmpfs", f"/proc/{name}")
    else:
        yield from ("--perms", "0555", "--size", "4096", "--tmpfs", "/proc")
    yield from ("--dev", "/dev")


def _writable(inside: Places, limits: SandboxLimits, variant: Variant) -> Iterator[str]:
    sizes = (
        (plan.SHARED_MEMORY, limits.shm_mb),
        (inside.tmp, limits.tmp_mb),
        (inside.home, limits.home_mb),
        (inside.work, limits.work_mb),
    )
    for path, size in sizes:
        # Mounted by root, used by another uid.
        mode = "0700" if variant.user_namespace and path != inside.tmp else "1777"
        yield from ("--perms", mode, "--size", str(size * 2**20), "--tmpfs", path)


def _interpreter(python: Interpreter) -> Iterator[str]:
    # After the tmpfs mounts, because an environment may lie below /tmp or a home.
    made = {"/", "/tmp", "/usr", "/home", "/home/user", "/dev", "/etc", "/proc"}  # noqa: S108 - inside
    for _, name in python.roots():
        for parent in reversed(PurePosixPath(name).parents):
            if str(parent) not in made and not any(
                str(parent).startswith(root + "/") for _, root in python.roots()
            ):
                made.add(str(parent))
                yield from ("--perms", "0755", "--dir", str(parent))
    for real, name in python.roots():
        yield from ("--ro-bind", real, name)


def command(variant: Variant, limits: SandboxLimits, uid: int | None) -> tuple[list[str], list[int]]:
    """The whole argument vector up to the boot code's own, and the descriptors to pass on.

    The options go through a descriptor, because the vector can be read inside as /proc/1/cmdline.
    """
    path, _ = program()
    options, descriptors = arguments(variant, limits, uid)
    descriptors.append(memory_file(b"".join(option.encode() + b"\0" for option in options)))
    return [path, "--args", str(descriptors[-1]), "--", variant.python.executable], descriptors
