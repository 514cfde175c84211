"""The system-call filter, assembled in pure Python to the bytes that the kernel takes.

A closed world: numbers above the newest reviewed call answer ENOSYS, so what later kernels add is off until
someone has looked at it; what is dangerous or unaccounted answers EPERM; a few calls depend on their
arguments; the rest is allowed. Numbers are from Linux's ``arch/x86/entry/syscalls/syscall_64.tbl`` and
``include/uapi/asm-generic/unistd.h``, the filter's form from ``linux/seccomp.h`` and ``linux/bpf_common.h``.
"""

import errno
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_LOAD, _EQ, _GE, _GT, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x25, 0x45, 0x54, 0x06

NEWEST_REVIEWED = 466  # removexattrat, Linux 6.13
_CLONE_NEW = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_CLONE_FILES, _CLONE_THREAD = 0x400, 0x10000
_TIOCSTI, _TIOCLINUX, _TIOCSETD = 0x5412, 0x541C, 0x5423
_PR_SET_DUMPABLE = 4
_RLIMIT_CORE = 4
_F_OFD_SETLK, _F_OFD_SETLKW, _F_SETLEASE, _F_NOTIFY = 37, 38, 1024, 1026
_SOL_SOCKET, _SO_SNDBUF, _SO_RCVBUF = 1, 7, 8
_PROTO_ANY, _PROTO_TCP, _PROTO_UDP = 0, 6, 17
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
_SOCK_STREAM, _SOCK_SEQPACKET = 1, 5

Column = Literal[0, 1]
_ARCHES: dict[str, tuple[int, Column]] = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_X32_BIT = 0x40000000

# name: (x86_64, aarch64); None where the architecture lacks the call.
_DENIED: dict[str, tuple[int, int | None]] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "pidfd_getfd": (438, 438), "process_mrelease": (448, 448),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "setns": (308, 268), "unshare": (272, 97), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442),
    # the machine
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "create_module": (174, None),
    "get_kernel_syms": (177, None), "query_module": (178, None), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162), "syslog": (103, 116),
    "vhangup": (153, 58), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    # kernel surface that ordinary programs do without
    "bpf": (321, 280), "perf_event_open": (298, 241), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    "uselib": (134, None), "ustat": (136, None), "sysfs": (139, None), "_sysctl": (156, None),
    "vserver": (236, None), "afs_syscall": (183, None), "io_setup": (206, 0), "io_submit": (209, 2),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "vmsplice": (278, 75),
    "remap_file_pages": (216, 234), "mbind": (237, 235), "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "set_mempolicy_home_node": (450, 450),
    # memory that no rlimit sees
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197), "semget": (64, 190),
    "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
    # identity
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setgroups": (116, 159), "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "capset": (126, 91),
}  # fmt: skip
# Programs fall back to something older when these do not exist, and fail when they are refused.
_ABSENT: dict[str, tuple[int, int | None]] = {
    "clone3": (435, 435), "memfd_create": (319, 279), "memfd_secret": (447, 447), "statmount": (457, 457),
    "listmount": (458, 458), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "userfaultfd": (323, 282), "name_to_handle_at": (303, 264),
}  # fmt: skip
# Rules of Landlock are memory that no limit counts, and the boot code has made its own by then; a user may have
# few inotify instances, and those inside are that user's.
_ABSENT_TO_CODE: dict[str, tuple[int, int | None]] = {
    "inotify_init": (253, None), "inotify_init1": (294, 26),
    "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446),
}  # fmt: skip
# Without namespaces, these reach files and processes of the same user that Landlock does not guard. Changing
# modes, owners and times answers success and does nothing: shutil.copy and tarfile treat a refusal as a
# failed copy.
_PRETENDED: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
}  # fmt: skip
_NO_NAMESPACE_DENIED: dict[str, tuple[int, int]] = {
    "setsid": (112, 157), "setpgid": (109, 154), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "ioprio_set": (251, 30),
    # Landlock hides what is in a directory, but not what happens in it.
    "inotify_add_watch": (254, 27),
    # A descriptor under way from one end of a pair to the other is in no process's table, and so in no count.
    "sendmsg": (46, 211), "sendmmsg": (307, 269),
}  # fmt: skip
# Numbers, and the answer for any process but the caller itself. Threads that set their own scheduling by number, as
# libzmq's and OpenBLAS's do, are told that it worked: libzmq aborts otherwise.
_OWN_PROCESS_ONLY: dict[str, tuple[int, int, int]] = {
    "sched_setaffinity": (203, 122, 0), "sched_setscheduler": (144, 119, 0),
    "sched_setparam": (142, 118, 0), "sched_setattr": (314, 274, 0),
}  # fmt: skip
_BY_ARGUMENT: dict[str, tuple[int, int]] = {
    "clone": (56, 220), "socket": (41, 198), "socketpair": (53, 199), "ioctl": (16, 29),
    "personality": (135, 92), "setpriority": (141, 140), "prctl": (157, 167), "setrlimit": (160, 164),
    "prlimit64": (302, 261), "fcntl": (72, 25), "setsockopt": (54, 208),
}  # fmt: skip

Instruction = tuple[int, int, int, int]


def _refuse(code: int) -> Instruction:
    return (_RETURN, _ERRNO | code, 0, 0)


_PASS: Instruction = (_RETURN, ALLOW, 0, 0)


def _low(argument: int) -> Instruction:
    return (_LOAD, 16 + 8 * argument, 0, 0)


def _high(argument: int) -> Instruction:
    return (_LOAD, 20 + 8 * argument, 0, 0)


def _when(number: int, body: list[Instruction]) -> list[Instruction]:
    return [(_EQ, number, 0, len(body)), *body]


def _one_of(values: tuple[int, ...], refusal: Instruction) -> list[Instruction]:
    """Compare the loaded word with each value; fall through to the refusal."""
    tests: list[Instruction] = [(_EQ, v, len(values) - i, 0) for i, v in enumerate(values)]
    return [*tests, refusal, _PASS]


def _none_of(values: tuple[int, ...], refusal: Instruction) -> list[Instruction]:
    """Compare the loaded word with each value; each leads to the refusal."""
    tests: list[Instruction] = [(_EQ, v, len(values) - i, 0) for i, v in enumerate(values)]
    return [*tests, _PASS, refusal]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a filter allows beyond the common rules.

    ``families`` are the address families that ``socket`` may open; none at all where nothing else guards the
    host's sockets. ``namespaces`` says that the process has a pid namespace and a file system of its own,
    ``boot`` that it is the boot code, which closes its memory to others and makes the kernel's Landlock domain.
    """

    families: tuple[int, ...] = (AF_UNIX, AF_INET, AF_INET6)
    namespaces: bool = True
    boot: bool = False


def build(policy: Policy, machine: str | None = None) -> bytes:
    """Assemble the filter for ``machine`` (default: this one); LookupError for an unknown architecture."""
    machine = machine or platform.machine()
    if machine not in _ARCHES:
        raise LookupError(f"no system-call table for {machine}; known: {', '.join(_ARCHES)}")
    audit, column = _ARCHES[machine]
    program: list[Instruction] = [
        (_LOAD, 4, 0, 0),
        (_EQ, audit, 1, 0),
        (_RETURN, KILL_PROCESS, 0, 0),
        (_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":
        program += [(_GE, _X32_BIT, 0, 1), (_RETURN, KILL_PROCESS, 0, 0)]
    program += [(_GT, NEWEST_REVIEWED, 0, 1), _refuse(errno.ENOSYS)]
    for block in _blocks(policy, column):
        program += block
    program.append(_PASS)
    return b"".join(struct.pack("<HBBI", op, yes, no, value) for op, value, yes, no in program)


def _blocks(policy: Policy, column: Column) -> Iterator[list[Instruction]]:
    yield from _argument_rules(policy, column)
    if not policy.namespaces:
        for numbers in _PRETENDED.values():
            if (number := numbers[column]) is not None:
                yield _when(number, [_refuse(0)])
        for denied in _NO_NAMESPACE_DENIED.values():
            yield _when(denied[column], [_refuse(errno.EPERM)])
        for own in _OWN_PROCESS_ONLY.values():
            yield _when(own[column], [_low(0), (_EQ, 0, 1, 0), _refuse(own[2]), _PASS])
        # PRIO_PROCESS of the caller itself; PRIO_USER would reach every process of the user.
        itself = [_low(0), (_EQ, 0, 0, 2), _low(1), (_EQ, 0, 1, 0), _refuse(errno.EPERM), _PASS]
        yield _when(_BY_ARGUMENT["setpriority"][column], itself)
    for absent in (_ABSENT if policy.boot else _ABSENT | _ABSENT_TO_CODE).values():
        if (gone := absent[column]) is not None:
            yield _when(gone, [_refuse(errno.ENOSYS)])
    for refused in _DENIED.values():
        if (call := refused[column]) is not None:
            yield _when(call, [_refuse(errno.EPERM)])


def _argument_rules(policy: Policy, column: Column) -> Iterator[list[Instruction]]:
    number = {name: numbers[column] for name, numbers in _BY_ARGUMENT.items()}
    # A thread with descriptors of its own would have some that nobody counts.
    thread = [(_AND, _CLONE_THREAD | _CLONE_FILES, 0, 0), (_EQ, _CLONE_THREAD, 0, 1), _refuse(errno.EPERM)]
    yield _when(
        number["clone"],
        [_low(0), (_ANY_BIT, _CLONE_NEW, 0, 1), _refuse(errno.EPERM), *thread, _PASS],
    )
    if not policy.boot:
        # A process that cannot be dumped is also hidden from the watchdog of an ordinary user.
        on = [_low(1), (_EQ, 1, 1, 0), _refuse(errno.EPERM), _PASS]
        yield _when(number["prctl"], [_low(0), (_EQ, _PR_SET_DUMPABLE, 1, 0), _PASS, *on])
        # The sizes of buffers are a wish, and no limit counts them: a thousand of the largest hold gigabytes.
        sizes = [_low(2), *_none_of((_SO_SNDBUF, _SO_RCVBUF), _refuse(0))]
        yield _when(number["setsockopt"], [_low(1), (_EQ, _SOL_SOCKET, 1, 0), _PASS, *sizes])
    yield _when(number["socket"], _socket(policy.families))
    pair = [_low(0), (_EQ, AF_UNIX, 1, 0), _refuse(errno.EAFNOSUPPORT)]
    if policy.namespaces:
        pair.append(_PASS)
    else:
        # One end of a datagram pair could be connected again, to a socket of the host.
        pair += [_low(1), (_AND, 0xF, 0, 0), *_one_of((_SOCK_STREAM, _SOCK_SEQPACKET), _refuse(errno.EPERM))]
    yield _when(number["socketpair"], pair)
    # Compared on 32 bits as the kernel does, else the upper half hides the request (CVE-2019-7303).
    yield _when(
        number["ioctl"],
        [_low(1), *_none_of((_TIOCSTI, _TIOCLINUX, _TIOCSETD), _refuse(errno.EPERM))],
    )
    # A lease on a file of the host holds up those who write it, a notice tells what they do, and the kernel says of
    # no process how many locks an open file has.
    held = (_F_OFD_SETLK, _F_OFD_SETLKW, _F_SETLEASE, _F_NOTIFY)
    yield _when(number["fcntl"], [_low(1), *_none_of(held, _refuse(errno.EINVAL))])
    yield from _core_limit(number["setrlimit"], number["prlimit64"], policy)
    yield _when(number["personality"], [_low(0), *_one_of((0, 0xFFFFFFFF), _refuse(errno.EPERM))])


def _core_limit(setrlimit: int, prlimit: int, policy: Policy) -> Iterator[list[Instruction]]:
    # At any other value than the boot code's, a crash inside would start the host's crash handler, as root.
    yield _when(setrlimit, [_low(0), *_none_of((_RLIMIT_CORE,), _refuse(errno.EPERM))])
    sets_it = [_low(1), (_EQ, _RLIMIT_CORE, 0, 5), _low(2), (_EQ, 0, 0, 2), _high(2), (_EQ, 0, 1, 0)]
    own = [] if policy.namespaces else [_low(0), (_EQ, 0, 1, 0), _refuse(errno.EPERM)]
    yield _when(prlimit, [*sets_it, _refuse(errno.EPERM), *own, _PASS])


def _socket(families: tuple[int, ...]) -> list[Instruction]:
    body: list[Instruction] = [_low(0)]
    for family in families:
        # Other protocols only widen what of Linux can be reached; asking for one may load a module.
        known = _one_of((_PROTO_ANY, _PROTO_TCP, _PROTO_UDP), _refuse(errno.EPROTONOSUPPORT))
        body += _when(family, [_low(2), *known] if family in (AF_INET, AF_INET6) else [_PASS])
    if AF_INET in families:
        # libzmq aborts the process when getifaddrs fails, so NETLINK_ROUTE (protocol 0) stays.
        body += _when(AF_NETLINK, [_low(2), *_one_of((0,), _refuse(errno.EAFNOSUPPORT))])
    return [*body, _refuse(errno.EAFNOSUPPORT)]
