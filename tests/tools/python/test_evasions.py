"""What code could do to slip out of sight of whoever counts and clears up, and yet is counted and cleared up."""

import mmap
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from kernel import LIMITS, Kernel, needs

from arriero.tools.python import SandboxLimits
from arriero.tools.python.inside_files import remove_tree
from arriero.tools.python.process import Child
from arriero.tools.python.watchdog import (
    Watchdog,
    cpu_time,
    directory_use,
    held_open,
    proportional,
    resident,
    same_memory,
)

_MIB = 2**20
# A name of any bytes, which Linux then gives out in /proc.
_ODD_NAME = "import ctypes\nassert ctypes.CDLL(None).prctl(15, b'\\xff\\n)\\xfe', 0, 0, 0) == 0"


def dig(root: Path, levels: int, name: str = "d") -> None:
    """Directories in one another, from a process of its own, since only its working directory gets that deep."""
    steps = f"for _ in range({levels}):\n    os.mkdir({name!r}); os.chdir({name!r})"
    code = f"import os\n{steps}\nopen('end', 'w').close()"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=root, check=True)


# Deeper than Python may recurse; longer than a path may be.
@pytest.mark.parametrize(("levels", "name"), [(1100, "d"), (25, "d" * 200)])
def test_directories_of_any_depth_are_removed(tmp_path: Path, levels: int, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    dig(root, levels, name)
    remove_tree(str(root))
    assert not root.exists()


def test_only_what_lies_in_it_is_removed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    for directory in (outside, root, root / "closed", root / "closed" / "inner"):
        directory.mkdir()
    (outside / "kept").write_text("x")
    outside.chmod(0o500)
    (root / "closed" / "file").write_text("x")
    (root / "closed" / "link").symlink_to(outside)
    (root / "link").symlink_to(outside)
    os.mkfifo(root / "pipe")
    (root / "closed").chmod(0)
    remove_tree(str(root))
    assert not root.exists()
    assert (outside / "kept").exists()
    assert outside.stat().st_mode & 0o777 == 0o500
    outside.chmod(0o700)


def test_a_link_is_not_taken_for_a_directory_to_remove(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    with pytest.raises(NotADirectoryError):
        remove_tree(str(tmp_path / "link"))
    assert (tmp_path / "kept").exists()


def test_what_cannot_be_counted_is_an_error(tmp_path: Path) -> None:
    dig(tmp_path, 50)
    assert directory_use(str(tmp_path), 1000)[1] == 51
    (tmp_path / "deep").mkdir()
    dig(tmp_path / "deep", 25, "d" * 200)
    with pytest.raises(OSError, match="too long"):
        directory_use(str(tmp_path), 100_000)
    remove_tree(str(tmp_path / "deep"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root can list every directory")
def test_a_directory_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(0o300)
    with pytest.raises(PermissionError):
        directory_use(str(tmp_path), 1000)


def test_files_that_no_directory_names_any_more_are_counted(tmp_path: Path) -> None:
    pids, root = [os.getpid()], str(tmp_path)
    before, sockets = held_open(pids, root)
    with open(tmp_path / "open", "wb") as held:
        held.write(os.urandom(3 * _MIB))
        held.flush()
        assert held_open(pids, root)[0] == before
        (tmp_path / "open").unlink()
        assert held_open(pids, root)[0] - before >= 3 * _MIB
    with open(tmp_path / "mapped", "w+b") as file:
        file.truncate(5 * _MIB)
        mapping = mmap.mmap(file.fileno(), 5 * _MIB)
    (tmp_path / "mapped").unlink()
    assert held_open(pids, root)[0] - before == 5 * _MIB
    mapping.close()
    one, other = socket.socketpair()
    assert held_open(pids, root) == (before, sockets + 2)
    one.close()
    other.close()


def test_processes_that_have_ended_hold_nothing() -> None:
    with subprocess.Popen(["/bin/true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert held_open([ended.pid], "/") == (0, 0)


def test_processes_of_any_name_are_counted() -> None:
    code = f"{_ODD_NAME}\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as named:
        assert named.stdout is not None
        named.stdout.readline()
        assert resident([named.pid]) > _MIB
        assert proportional([named.pid]) > _MIB
        assert cpu_time([named.pid]) >= 0
        named.communicate()


# A child that goes on in its parent's memory, as one does that is just about to start a program.
_TWO_IN_ONE = """
#include <stdio.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int wait_in(void *_) { pause(); return 0; }
int main(void) {
    memset(malloc(50 << 20), 1, 50 << 20);
    char *stack = malloc(65536);
    printf("%d\\n", clone(wait_in, stack + 65536, CLONE_VM, 0)); fflush(stdout);
    pause();
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_one_memory_of_two_processes_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "two.c").write_text("#define _GNU_SOURCE\n" + _TWO_IN_ONE)
    subprocess.run(["gcc", "-O0", "two.c", "-o", "two"], cwd=tmp_path, check=True)
    with subprocess.Popen([tmp_path / "two"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert same_memory(parent.pid, child)
            assert not same_memory(parent.pid, os.getpid())
            assert 50 * _MIB < proportional([parent.pid, child]) < 90 * _MIB < resident([parent.pid, child])
        finally:
            os.kill(child, 9)
            parent.kill()


_FIRST_THREAD_ENDS = """
import ctypes, platform, threading, time
def work():
    time.sleep(0.3)
    kept = bytearray(b"1") * ({mib} << 20)
    print(flush=True)
    time.sleep(60)
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)
"""


def test_memory_is_counted_when_the_first_thread_has_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _FIRST_THREAD_ENDS.format(mib=50)], stdout=subprocess.PIPE
    ) as left:
        assert left.stdout is not None
        left.stdout.readline()
        assert "Z (zombie)" in Path(f"/proc/{left.pid}/status").read_text()
        assert resident([left.pid]) > 50 * _MIB
        assert proportional([left.pid]) > 50 * _MIB
        left.kill()


def test_what_can_no_longer_be_watched_is_ended() -> None:
    reasons: list[str] = []
    child = SimpleNamespace(pid=os.getpid(), alive=lambda: True)  # and nothing else that is looked at
    watchdog = Watchdog(cast(Child, child), SandboxLimits(processes=1000), reasons.append)
    end = time.monotonic() + 30
    while not reasons and time.monotonic() < end:
        time.sleep(0.05)
    watchdog.stop()
    assert reasons == ["it could not be watched (AttributeError)"]


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def few_sockets(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    needs(request.param)
    made = Kernel(request.param, spare=False, limits=replace(LIMITS, sockets=150))
    yield made
    made.close()


def test_crash_handlers_of_the_host_are_not_started(few_sockets: Kernel) -> None:
    done = few_sockets.run(
        "import resource as r\nprint(r.getrlimit(r.RLIMIT_CORE))\nr.setrlimit(r.RLIMIT_CORE, (0, 1))"
    )
    assert done.stdout == "(1, 1)"
    assert "not allowed" in done.stderr or "not permitted" in done.stderr, done


def test_what_happens_in_directories_of_the_host_is_not_told(few_sockets: Kernel, tmp_path: Path) -> None:
    code = f"c.inotify_add_watch(c.inotify_init1(0), {bytes(tmp_path)!r}, 4095)"
    assert few_sockets.run(f"import ctypes\nc = ctypes.CDLL(None)\nprint({code})").stdout == "-1"


def test_a_kernel_with_an_odd_name_still_has_limits(few_sockets: Kernel) -> None:
    assert few_sockets.run(_ODD_NAME).status == "completed"
    done = few_sockets.run(
        "import socket, time\nkept = [socket.socketpair() for _ in range(100)]\ntime.sleep(60)", 50
    )
    assert "more than 150 sockets" in done.stderr, done


# What is counted for nobody where there is no control group, and the words with which it ends.
BEYOND_ACCOUNTS = {
    "memory of processes whose first thread has ended": (
        "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n"
        f"        exec({_FIRST_THREAD_ENDS.format(mib=300)!r})\ntime.sleep(60)",
        "700 MiB of memory",
    ),
    "locks": (
        "import fcntl, time\nfiles = [open(f'l{n}', 'w') for n in range(100)]\nfor n in range(400):\n"
        "    for f in files: fcntl.lockf(f, fcntl.LOCK_EX, 1, 2 * n)\ntime.sleep(60)",
        "10000 locks on files",
    ),
    "epoll descriptors": (
        "import select, time\nkept = [select.epoll() for _ in range(450)]\ntime.sleep(60)",
        "400 epoll descriptors",
    ),
    "descriptors": (
        "import os, time\nfor _ in range(24):\n    if os.fork() == 0:\n"
        "        kept = [os.open('/dev/null', 0) for _ in range(900)]; time.sleep(60)\ntime.sleep(60)",
        "20000 open files",
    ),
}


@pytest.mark.parametrize("name", BEYOND_ACCOUNTS)
def test_what_is_on_nobodys_account_is_limited(few_sockets: Kernel, name: str) -> None:
    code, words = BEYOND_ACCOUNTS[name]
    done = few_sockets.run(code, 50)
    assert done.state_lost
    assert words in done.stderr


def test_what_waits_in_connections_is_limited() -> None:
    needs("bubblewrap")
    made = Kernel("bubblewrap", spare=False, limits=replace(LIMITS, memory_mb=250))
    code = (
        "import socket, time\ns = socket.create_server(('127.0.0.1', 0)); kept = []\nfor _ in range(200):\n"
        "    one = socket.create_connection(s.getsockname()); kept += [one, s.accept()[0]]\n"
        "    one.setblocking(False)\n    try:\n        while True: one.send(bytes(1 << 20))\n"
        "    except BlockingIOError: pass\ntime.sleep(60)"
    )
    done = made.run(code, 50)
    made.close()
    assert "250 MiB of memory" in done.stderr, done


# Every socket of the kernel's becomes a link to one of the host's, and then all connections are dropped.
_SWAP = """
import json, os, stat, time
from ipykernel.kernelapp import IPKernelApp
ip = json.load(open(IPKernelApp.instance().abs_connection_file))["ip"]
for number in range(1, 6):
    os.unlink(f"{{ip}}-{{number}}")
    os.symlink({target!r}, f"{{ip}}-{{number}}")
for descriptor in range(3, 200):
    try:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
    except OSError:
        pass
time.sleep(3)
"""


def test_the_gateway_is_not_led_to_a_socket_of_the_host(tmp_path: Path) -> None:
    needs("landlock")
    reached = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.settimeout(60)

        def accept() -> None:
            try:
                listener.accept()[0].close()
            except OSError:
                return
            reached.set()

        waiting = threading.Thread(target=accept)
        waiting.start()
        made = Kernel("landlock", spare=False)
        done = made.run(_SWAP.format(target=str(tmp_path / "s")), 10)
        made.close()
        assert done.state_lost
        assert not reached.is_set()
        with socket.socket(socket.AF_UNIX) as own:  # the listener does work
            own.connect(str(tmp_path / "s"))
        waiting.join(10)
        assert reached.is_set()
