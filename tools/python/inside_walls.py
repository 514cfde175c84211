"""The walls that the boot code puts around itself, and a report on them (runs inside; standard library only).

Numbers are from ``linux/prctl.h``, ``linux/landlock.h``, ``linux/capability.h`` and ``asm/unistd.h``.
"""

import contextlib
import ctypes
import os
import platform
import resource
import socket
import stat
import struct
from collections.abc import Iterable, Mapping
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_GET_SECCOMP, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 1, 4, 21, 23, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 36, 38, 39
_X86 = platform.machine() == "x86_64"
_NR_SECCOMP = 317 if _X86 else 277
_NR_CAPGET, _NR_CAPSET = (125, 126) if _X86 else (90, 91)
_CAPABILITY_VERSION_3 = 0x20080522

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
(
    _EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE, _MAKE_CHAR, _MAKE_DIR, _MAKE_REG,
    _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM, _REFER, _TRUNCATE, _IOCTL_DEV,
) = (1 << i for i in range(16))  # fmt: skip
_READ_ONLY = _READ_FILE | _READ_DIR | _EXECUTE
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _prctl(option: int, argument: int = 0) -> int:
    return int(_libc.prctl(option, argument, 0, 0, 0))


def set_limits(limits: Mapping[str, int | None]) -> None:
    """Lower the resource limits, hard and soft; ``limits`` maps RLIMIT names without prefix to numbers."""
    for name, value in limits.items():
        if value is not None:
            kind = getattr(resource, f"RLIMIT_{name}")
            hard = resource.getrlimit(kind)[1]
            ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (ceiling, ceiling))


def drop_to(uid: int) -> None:
    """Become an unused user: no groups, no capabilities, no way back. The caller must be root."""
    drop_bounding_set()
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise OSError(error.errno, f"cannot become user {uid}: {error.strerror}") from error
    _prctl(_PR_SET_DUMPABLE, 1)  # the change of uid cleared it, and with it our own /proc/self


def drop_bounding_set() -> None:
    """Make it impossible to gain a capability by running a file that carries one."""
    for capability in range(64):
        _prctl(_PR_CAPBSET_DROP, capability)


def drop_capabilities() -> None:
    """Give up every capability of this process, those it would hand on too; does nothing where it has none."""
    if not capabilities():
        return
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0))
    nothing = ctypes.create_string_buffer(bytes(24))
    _check(_libc.syscall(_NR_CAPSET, header, nothing), "capset")


def capabilities() -> int:
    """The capabilities that this process has, may take, or hands on, as a bit mask."""
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0))
    sets = ctypes.create_string_buffer(24)
    _check(_libc.syscall(_NR_CAPGET, header, sets), "capget")
    low, high = struct.unpack("<3I", sets.raw[:12]), struct.unpack("<3I", sets.raw[12:24])
    return int(low[0] | low[1] | low[2] | (high[0] | high[1] | high[2]) << 32)


def die_with(parent: int) -> None:
    """Be killed when the parent ends; ends at once if it already has."""
    _prctl(_PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none gets out of sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_first() -> None:
    """Be the one whom a machine out of memory ends, rather than the caller."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("800")


def hide_memory() -> None:
    """Close /proc/PID/mem, fd and environ of this process to others of the same user."""
    _prctl(_PR_SET_DUMPABLE, 0)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def load_filter(program: bytes) -> None:
    """Load a seccomp filter into every thread of this process; it cannot be taken off again."""
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "no_new_privs")
    buffer = ctypes.create_string_buffer(program, len(program))
    argument = _Program(len(program) // 8, ctypes.addressof(buffer))
    set_mode_filter, thread_sync = 1, 1
    if _libc.syscall(_NR_SECCOMP, set_mode_filter, thread_sync, ctypes.byref(argument)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp filter refused")


def landlock_abi() -> int:
    """The version of Landlock that this kernel offers; 0 where it has none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, 1)))


def restrict_files(rules: Mapping[str, Any]) -> None:
    """Enter a Landlock domain.

    ``rules`` holds the path lists ``read``, ``write`` and ``devices``, and ``no_tcp``. What the kernel's
    version cannot do is left out; ``rules["abi"]`` is the least version, and OSError is raised below it.
    """
    abi = landlock_abi()
    if abi < max(1, int(rules["abi"])):
        raise OSError(f"Landlock version {abi} is below {rules['abi']}")
    handled = (1 << 13) - 1
    for version, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        handled |= right if abi >= version else 0
    both_tcp = 3 if rules["no_tcp"] and abi >= 4 else 0
    signals_and_abstract_sockets = 3 if abi >= 6 else 0
    attributes = struct.pack("<QQQ", handled, both_tcp, signals_and_abstract_sockets)
    attributes = attributes[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _check(
        _libc.syscall(_CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), 0),
        "landlock",
    )
    _allow(ruleset, rules["read"], _READ_ONLY & handled)
    _allow(ruleset, rules["write"], handled & ~(_MAKE_CHAR | _MAKE_BLOCK))
    _allow(ruleset, rules["devices"], (_READ_FILE | _WRITE_FILE | _IOCTL_DEV) & handled)
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "no_new_privs")
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, paths: Iterable[str], rights: int) -> None:
    for path in paths:
        try:
            anchor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not there, so nothing to allow
        try:
            access = rights if stat.S_ISDIR(os.fstat(anchor).st_mode) else rights & _OF_A_FILE
            rule = ctypes.c_char_p(struct.pack("<Qi", access, anchor))
            _check(_libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"landlock rule for {path}")
        finally:
            os.close(anchor)


def _opens(family: int, kind: int = socket.SOCK_STREAM) -> bool:
    try:
        socket.socket(family, kind).close()
    except OSError:
        return False
    return True


def _lists(path: str) -> bool:
    try:
        os.listdir(path)
    except OSError:
        return False
    return True


def report_outer(must_not_exist: Iterable[str]) -> dict[str, Any]:
    """What holds for the whole sandbox, seen from inside before any code of the model exists."""
    return {
        "capabilities": capabilities(),
        "bounding": sum(1 << c for c in range(41) if _prctl(_PR_CAPBSET_READ, c) == 1),
        "no_new_privs": _prctl(_PR_GET_NO_NEW_PRIVS),
        "seccomp": _prctl(_PR_GET_SECCOMP),
        "uid": os.getuid(),
        "host": os.uname().nodename,
        "interfaces": sorted(name for _, name in socket.if_nameindex()) if _opens(socket.AF_INET) else [],
        "sees": [path for path in must_not_exist if os.path.lexists(path)],
        "environment": sorted(os.environ),
        "namespaces": _namespaces(),
    }


def _namespaces() -> dict[str, str]:
    found = {}
    for kind in ("user", "pid", "net", "ipc", "uts", "mnt", "cgroup"):
        try:
            found[kind] = os.readlink(f"/proc/self/ns/{kind}")
        except OSError:
            continue
    return found


def report_inner(forbidden: Iterable[str]) -> dict[str, Any]:
    """What holds for the process that will run the model's code, tried rather than looked up."""
    return {
        "no_new_privs": _prctl(_PR_GET_NO_NEW_PRIVS),
        "seccomp": _prctl(_PR_GET_SECCOMP),
        "capabilities": capabilities(),
        "lists": [path for path in forbidden if _lists(path)],
        "unix": _opens(socket.AF_UNIX),
        "inet": _opens(socket.AF_INET),
        "vsock": _opens(getattr(socket, "AF_VSOCK", 40)),
        "packet": _opens(getattr(socket, "AF_PACKET", 17), socket.SOCK_RAW),
    }
