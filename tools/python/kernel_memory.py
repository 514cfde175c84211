"""Memory that Linux itself uses for processes, and puts on nobody's account where there is no control group."""

import contextlib
import os
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

from .process import living

MOST_LOCKS = 10_000
"""Record locks of all processes inside together: some 2 MB."""

MOST_DESCRIPTORS = 20_000
"""Open descriptors of all processes inside together: with many more, whoever counts would fall behind."""

MOST_POLLS = 400
"""Epoll descriptors of all processes inside together; each can watch as many descriptors as a process may have."""

_FEW_CONNECTIONS = 8
_HIDDEN_FOR = 3  # looks; for one or two, a process may be just about to start a program
_QUEUES = 4  # the column of /proc/net/tcp that holds, in hexadecimal, what waits to be sent and to be read


def queued(pid: int) -> int:
    """Bytes that wait in the TCP connections of a process's network namespace; 0 where there are only a few."""
    total = 0
    for name, count in (
        ("tcp", _count(pid, "sockstat", b"TCP:")),
        ("tcp6", _count(pid, "sockstat6", b"TCP6:")),
    ):
        # Linux looks through the connections of all namespaces to tell those of one, which takes milliseconds.
        for line in _lines(f"/proc/{pid}/net/{name}", skip=1) if count > _FEW_CONNECTIONS else ():
            sent, _, read = line.split()[_QUEUES].partition(b":")
            total += int(sent, 16) + int(read, 16)
    return total


def _count(pid: int, name: str, which: bytes) -> int:
    """The sockets in use that a line of a process's sockstat tells: "TCP: inuse 5 orphan 0"."""
    found = (int(line.split()[2]) for line in _lines(f"/proc/{pid}/net/{name}") if line.startswith(which))
    return next(found, 0)


def more_locks_than(most: int, pids: Collection[int]) -> bool:
    """Whether processes hold more than ``most`` record locks together."""
    owned = (line for line in _lines("/proc/locks") if b"POSIX" in line and _owner(line) in pids)
    return next(islice(owned, most, None), None) is not None


class Descriptors:
    """Counts what processes have open, from one look to the next."""

    def __init__(self, most: int = MOST_DESCRIPTORS, most_polls: int = MOST_POLLS) -> None:
        self._most, self._most_polls = most, most_polls
        self._hidden: dict[int, int] = {}

    def too_many(self, pids: Iterable[int]) -> str | None:
        """What there is too much of, processes that cannot be looked into included; None if all is well."""
        names, hidden = {}, {}
        for pid in pids:
            try:
                folder, found = _descriptors(pid)
                names[folder] = found
            except PermissionError:
                hidden[pid] = self._hidden.get(pid, 0) + 1
            except OSError:
                continue  # ended
        self._hidden = hidden
        count = sum(map(len, names.values()))
        if count > self._most:
            return f"more than {self._most} open files"
        if any(looks >= _HIDDEN_FOR for looks in hidden.values()):
            return "a process that nobody can look into"
        polls = (1 for folder, of_it in names.items() for name in of_it if _is_poll(f"{folder}/{name}"))
        if count > self._most_polls and next(islice(polls, self._most_polls, None), None):
            return f"more than {self._most_polls} epoll descriptors"
        return None


def _owner(line: bytes) -> int:
    # "1: POSIX  ADVISORY  WRITE 4242 fe:00:123 0 EOF"; a waiting one has "->" after its number.
    words = line.replace(b"->", b"").split()
    return int(words[4]) if len(words) > 4 else 0


def _descriptors(pid: int) -> tuple[str, list[str]]:
    """Where /proc tells of a process's descriptors, and their names; PermissionError where it hides itself."""
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(PermissionError):  # the first thread has ended, perhaps
        if names := os.listdir(folder):
            return folder, names
    thread = living(pid)
    return (f"{thread}/fd", os.listdir(f"{thread}/fd")) if thread else (folder, [])


def _is_poll(descriptor: str) -> bool:
    try:
        return os.readlink(descriptor) == "anon_inode:[eventpoll]"
    except OSError:
        return False


def _lines(path: str, skip: int = 0) -> Iterable[bytes]:
    try:
        with Path(path).open("rb") as file:
            yield from islice(file, skip, None)
    except OSError:
        return
