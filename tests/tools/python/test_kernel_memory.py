"""What Linux itself holds for processes is counted, and by whom it can be."""

import fcntl
import os
import select
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from arriero.tools.python.kernel_memory import Descriptors, more_locks_than, queued

ME = [os.getpid()]


def test_what_waits_in_connections_is_counted() -> None:
    before = queued(ME[0])
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for _ in range(6):
            one = stack.enter_context(socket.create_connection(server.getsockname()))
            stack.enter_context(server.accept()[0])
            one.sendall(bytes(50_000))
        assert queued(ME[0]) - before >= 300_000
    assert queued(2**22 + 1) == 0


def test_locks_are_counted_by_their_owner(tmp_path: Path) -> None:
    with (tmp_path / "locked").open("wb") as file:
        for byte in range(0, 100, 2):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, byte)
        assert more_locks_than(40, ME)
        assert not more_locks_than(5_000, ME)
        assert not more_locks_than(0, [1])
    assert not more_locks_than(40, ME)


def test_descriptors_are_counted() -> None:
    had = len(os.listdir("/proc/self/fd"))
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(open(os.devnull))
        assert Descriptors(most=had + 40).too_many(ME) is None
        assert Descriptors(most=had + 20).too_many(ME) == f"more than {had + 20} open files"


def test_epoll_descriptors_are_counted() -> None:
    with ExitStack() as stack:
        for _ in range(12):
            stack.callback(select.epoll().close)
        assert Descriptors(most_polls=10).too_many(ME) == "more than 10 epoll descriptors"
        assert Descriptors(most_polls=40).too_many(ME) is None


def test_processes_that_have_ended_hold_nothing() -> None:
    descriptors = Descriptors()
    with subprocess.Popen(["/bin/true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        for _ in range(5):
            assert descriptors.too_many([ended.pid, 2**22 + 1]) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is hidden from root")
def test_a_process_that_stays_hidden_is_told() -> None:
    code = "import ctypes\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as hidden:
        assert hidden.stdout is not None
        hidden.stdout.readline()
        descriptors = Descriptors()
        told = [descriptors.too_many([hidden.pid]) for _ in range(3)]
        hidden.communicate(b"\n")
    assert told == [None, None, "a process that nobody can look into"]
