"""The filter, run by a small interpreter of its own bytes."""

import errno
import struct

import pytest

from arriero.tools.python.seccomp import AF_UNIX, ALLOW, KILL_PROCESS, Policy, build

X86, ARM = 0xC000003E, 0xC00000B7
FULL, NARROW = Policy(), Policy(families=(), namespaces=False)
CLONE_NEWUSER = 0x10000000


def decide(program: bytes, number: int, *arguments: int, audit: int = X86) -> int:
    """What the kernel would answer to one system call."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, audit, 0, *(value & (2**64 - 1) for value in padded))
    at = word = 0
    while True:
        op, yes, no, value = struct.unpack_from("<HBBI", program, 8 * at)
        at += 1
        if op == 0x20:
            (word,) = struct.unpack_from("<I", data, value)
        elif op == 0x54:
            word &= value
        elif op == 0x06:
            return value
        else:
            taken = {0x15: word == value, 0x35: word >= value, 0x25: word > value, 0x45: bool(word & value)}[
                op
            ]
            at += yes if taken else no


def refused(code: int) -> int:
    return 0x00050000 | code


@pytest.mark.parametrize("policy", [FULL, NARROW])
def test_ordinary_calls_pass(policy: Policy) -> None:
    program = build(policy, "x86_64")
    for number in (0, 1, 2, 9, 39, 57, 59, 202, 257, 318):
        assert decide(program, number) == ALLOW, number


@pytest.mark.parametrize(
    ("number", "arguments", "expected"),
    [
        (101, (0,), refused(errno.EPERM)),  # ptrace
        (165, (), refused(errno.EPERM)),  # mount
        (272, (CLONE_NEWUSER,), refused(errno.EPERM)),  # unshare
        (250, (), refused(errno.EPERM)),  # keyctl
        (425, (), refused(errno.ENOSYS)),  # io_uring_setup
        (435, (), refused(errno.ENOSYS)),  # clone3
        (467, (), refused(errno.ENOSYS)),  # newer than reviewed
        (56, (CLONE_NEWUSER | 17,), refused(errno.EPERM)),  # clone
        (56, (17,), ALLOW),
        (56, (0x3D0F00,), ALLOW),  # a thread of glibc's
        (56, (0x3D0B00,), refused(errno.EPERM)),  # with descriptors of its own
        (16, (0, 0x5412), refused(errno.EPERM)),  # TIOCSTI
        (16, (0, 0x5423), refused(errno.EPERM)),  # TIOCSETD
        (160, (4, 1), refused(errno.EPERM)),  # setrlimit of RLIMIT_CORE
        (160, (7, 1), ALLOW),
        (302, (0, 4, 1), refused(errno.EPERM)),  # prlimit64, sets it
        (302, (0, 4, 1 << 32), refused(errno.EPERM)),
        (302, (0, 4, 0, 1), ALLOW),  # asks for it
        (302, (0, 7, 1), ALLOW),
        (16, (0, 0x100005412), refused(errno.EPERM)),  # hidden above 32 bits
        (16, (0, 0x5401), ALLOW),
        (135, (0x0040000,), refused(errno.EPERM)),  # personality ADDR_NO_RANDOMIZE
        (135, (0xFFFFFFFF,), ALLOW),
        (41, (40, 1, 0), refused(errno.EAFNOSUPPORT)),  # vsock
        (41, (17, 3, 0), refused(errno.EAFNOSUPPORT)),  # packet
        (41, (2, 1, 0), ALLOW),
        (41, (16, 3, 0), ALLOW),  # netlink route
        (41, (16, 3, 15), refused(errno.EAFNOSUPPORT)),
        (41, (2, 1, 6), ALLOW),
        (41, (10, 2, 17), ALLOW),
        (41, (2, 1, 132), refused(errno.EPROTONOSUPPORT)),  # SCTP
        (41, (10, 1, 262), refused(errno.EPROTONOSUPPORT)),  # MPTCP
        (41, (1, 1, 0), ALLOW),
        (444, (), refused(errno.ENOSYS)),  # landlock_create_ruleset
        (294, (), refused(errno.ENOSYS)),  # inotify_init1
        (54, (3, 1, 7), refused(0)),  # setsockopt SO_SNDBUF pretends
        (54, (3, 1, 8), refused(0)),
        (54, (3, 1, 2), ALLOW),  # SO_REUSEADDR
        (54, (3, 6, 7), ALLOW),
        (72, (3, 6), ALLOW),  # fcntl F_SETLK
        (72, (3, 37), refused(errno.EINVAL)),  # F_OFD_SETLK
        (72, (3, 1024), refused(errno.EINVAL)),  # F_SETLEASE
        (72, (3, 1026), refused(errno.EINVAL)),  # F_NOTIFY
        (53, (1, 2, 0), ALLOW),
        (53, (2, 1, 0), refused(errno.EAFNOSUPPORT)),
        (90, (), ALLOW),  # chmod
        (157, (4, 0), refused(errno.EPERM)),  # prctl: hiding from the watchdog
        (157, (4, 1), ALLOW),
        (157, (38, 1), ALLOW),
    ],
)
def test_decisions_with_namespaces(number: int, arguments: tuple[int, ...], expected: int) -> None:
    assert decide(build(FULL, "x86_64"), number, *arguments) == expected


@pytest.mark.parametrize(
    ("number", "arguments", "expected"),
    [
        (41, (AF_UNIX, 1, 0), refused(errno.EAFNOSUPPORT)),
        (41, (2, 1, 0), refused(errno.EAFNOSUPPORT)),
        (53, (1, 1 | 0o2000000, 0), ALLOW),  # stream, close-on-exec
        (53, (1, 2, 0), refused(errno.EPERM)),  # a datagram pair can be connected elsewhere
        (90, (), refused(0)),  # chmod pretends
        (112, (), refused(errno.EPERM)),  # setsid
        (302, (0,), ALLOW),  # prlimit64 of itself
        (302, (4242,), refused(errno.EPERM)),
        (144, (4242, 0), refused(0)),  # sched_setscheduler pretends
        (141, (0, 0), ALLOW),  # setpriority of itself
        (141, (2, 0), refused(errno.EPERM)),  # of every process of the user
        (141, (0, 77), refused(errno.EPERM)),
    ],
)
def test_decisions_without_namespaces(number: int, arguments: tuple[int, ...], expected: int) -> None:
    assert decide(build(NARROW, "x86_64"), number, *arguments) == expected


def test_other_architectures_are_killed() -> None:
    program = build(FULL, "x86_64")
    assert decide(program, 20, audit=0x40000003) == KILL_PROCESS  # i386 through int 0x80
    assert decide(program, 0x40000000 | 1) == KILL_PROCESS  # x32
    assert decide(build(FULL, "aarch64"), 117, audit=ARM) == refused(errno.EPERM)
    assert decide(build(FULL, "aarch64"), 63, audit=ARM) == ALLOW


def test_the_boot_code_may_hide_and_make_a_landlock_domain() -> None:
    program = build(Policy(boot=True), "x86_64")
    assert decide(program, 157, 4, 0) == ALLOW
    assert [decide(program, number) for number in (444, 445, 446)] == [ALLOW] * 3


def test_unknown_architecture_is_said() -> None:
    with pytest.raises(LookupError, match="riscv64"):
        build(FULL, "riscv64")
