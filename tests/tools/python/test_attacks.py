"""Ways out that code may try, at each level: what answers is the wall, and the kernel goes on."""

import pytest
from kernel import Kernel

_LIBC = "import ctypes, os\nc = ctypes.CDLL(None, use_errno=True); c.syscall.restype = ctypes.c_long\n"
_ERRNO = "def e(r): return ctypes.get_errno() if r < 0 else 'done'\n"

# The code, and what it has to print.
ATTACKS: dict[str, tuple[str, str]] = {
    "a lease on a file of the host": (
        "import fcntl, sys\nf = open(sys.executable)\nfor how in (1024, 1026, 37, 38):\n"
        "    try: print(fcntl.fcntl(f, how, 0))\n    except OSError as e: print(e.errno, end=' ')",
        "22 22 22 22",
    ),
    "sockets of gigabytes": (
        "import socket as s\na, b = s.socketpair(); before = a.getsockopt(s.SOL_SOCKET, s.SO_SNDBUF)\n"
        "a.setsockopt(s.SOL_SOCKET, s.SO_SNDBUF, 1 << 30); b.setsockopt(s.SOL_SOCKET, s.SO_RCVBUF, 1 << 30)\n"
        "print(a.getsockopt(s.SOL_SOCKET, s.SO_SNDBUF) == before)",
        "True",
    ),
    "rules of Landlock without end": (
        _LIBC + _ERRNO + "print([e(c.syscall(n, 0, 0, 0, 0)) for n in (444, 445, 446)])",
        "[38, 38, 38]",
    ),
    "the user's inotify instances": (_LIBC + _ERRNO + "print(e(c.inotify_init1(0)))", "38"),
    "timers without end": (
        "import resource as r\nprint(r.getrlimit(r.RLIMIT_SIGPENDING)[1] <= 1024)",
        "True",
    ),
    "mounts, old and new": (
        _LIBC + _ERRNO + "print({e(c.syscall(n, 0, 0, 0, 0, 0)) for n in (*range(428, 434), 442, 155, 161)})",
        "{1}",
    ),
    "namespaces": (_LIBC + _ERRNO + "print({e(c.unshare(f)) for f in (1 << 28, 1 << 17, 1 << 30, 1 << 7)})", "{1}"),
    "other processes' memory": (
        _LIBC + _ERRNO + "print({e(c.syscall(n, os.getppid(), 0, 0, 0, 0, 0)) for n in (310, 311, 438, 440, 448)})",
        "{1}",
    ),
    "what is newer than the filter": (
        _LIBC + _ERRNO + "print({e(c.syscall(n, -1, 0, 0, 0, 0, 0)) for n in range(467, 520)})",
        "{38}",
    ),
    "every kind of socket": (
        "import socket\nfound = set()\nfor family in range(50):\n    for kind in (1, 2, 3, 5, 10):\n"
        "        for protocol in (1, 6, 17, 132, 136, 255, 262):\n"
        "            try: socket.socket(family, kind, protocol).close(); found.add(protocol)\n"
        "            except OSError: pass\nprint(found - {1, 6, 17})",
        "set()",
    ),
    "signals by way of a descriptor": (
        "import fcntl, os, time\nr, w = os.pipe()\n"
        "try: fcntl.fcntl(r, fcntl.F_SETOWN, 1); fcntl.fcntl(r, 10, 9)\nexcept OSError: pass\n"
        "fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC); os.write(w, b'x'); time.sleep(0.2); print('alive')",
        "alive",
    ),
    "the 32-bit side of the system": (
        _LIBC + "p = os.fork()\nif p == 0:\n    c.syscall(0x40000000 + 39); os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]))",
        "-31",
    ),
    "a kernel that goes on twice": (
        "import os\np = os.fork()\np and os.waitpid(p, 0)\np or os._exit(0)\nprint('one')",
        "one",
    ),
    "capabilities that wait to be inherited": (
        "sets = [l.split() for l in open('/proc/self/status') if l.startswith('Cap')]\n"
        "print({int(held, 16) for name, held in sets if name != 'CapBnd:'})",
        "{0}",
    ),
    "devices": (
        "import os\nmade = 0\nfor mode in (0o20666, 0o60666):\n"
        "    try: os.mknod('dev', mode, os.makedev(1, 1)); made += 1\n    except OSError: pass\nprint(made)",
        "0",
    ),
}  # fmt: skip
WITHOUT_NAMESPACES: dict[str, tuple[str, str]] = {
    "sockets and addresses of the host": (
        "import os\nseen = []\n"
        "for place in ('net', 'self/net', 'thread-self/net', f'self/task/{os.getpid()}/net', '1/net'):\n"
        "    for name in ('unix', 'tcp', 'tcp6', 'udp', 'dev', 'arp', 'route'):\n"
        "        try: seen.append(open(f'/proc/{place}/{name}').read())\n        except OSError: pass\nprint(seen)",
        "[]",
    ),
}  # fmt: skip
WITH_NAMESPACES: dict[str, tuple[str, str]] = {
    "what tells of the machine": (
        "import os\nwork = os.getcwd(); os.chdir('/proc')\nseen = []\n"
        "for name in ('cmdline', 'partitions', 'diskstats', 'interrupts', 'sys/kernel/random/boot_id'):\n"
        "    try: seen += [open(name).read()]\n    except OSError: pass\n"
        "for name in ('bus', 'fs', 'driver'):\n    if os.path.isdir(name): seen += os.listdir(name)\n"
        "os.chdir(work); print(''.join(seen) == '', seen)",
        "True []",
    ),
    "shared memory of the host": ("import os\nprint(os.listdir('/dev/shm'))", "[]"),
    "other processes": ("import os\nprint(max(int(p) for p in os.listdir('/proc') if p.isdigit()) < 1000)", "True"),
}  # fmt: skip


def answers(kernel: Kernel, attack: tuple[str, str]) -> None:
    done = kernel.run(attack[0], 30)
    assert (done.stdout, done.state_lost) == (attack[1], False), done


@pytest.mark.parametrize("name", ATTACKS)
def test_the_wall_answers(kernel: Kernel, name: str) -> None:
    answers(kernel, ATTACKS[name])


@pytest.mark.parametrize("name", WITHOUT_NAMESPACES)
def test_the_wall_without_namespaces_answers(kernel: Kernel, name: str) -> None:
    if kernel.level == "bubblewrap":
        pytest.skip("has a network of its own, of which this tells")
    answers(kernel, WITHOUT_NAMESPACES[name])


@pytest.mark.parametrize("name", WITH_NAMESPACES)
def test_the_wall_of_namespaces_answers(kernel: Kernel, name: str) -> None:
    if kernel.level == "landlock":
        pytest.skip("needs namespaces of its own")
    answers(kernel, WITH_NAMESPACES[name])


def test_files_come_out_of_a_directory_that_changes_all_the_time(kernel: Kernel) -> None:
    code = (
        "import os, threading\nos.makedirs('d', exist_ok=True); os.symlink('/etc', 's')\n"
        "open('d/passwd', 'w').write('benign')\n"
        "def swap():\n    for _ in range(20_000):\n"
        "        try: os.rename('d', 't'); os.rename('s', 'd'); os.rename('d', 's'); os.rename('t', 'd')\n"
        "        except OSError: pass\nthreading.Thread(target=swap).start()"
    )  # fmt: skip
    kernel.run(code)
    found = set()
    for _ in range(100):
        try:
            found.add(kernel.wait(kernel.sandbox.get("d/passwd")))
        except OSError:
            continue
        assert all("root" not in name for name, _ in kernel.wait(kernel.sandbox.ls()))
    assert found <= {b"benign"}


@pytest.mark.parametrize(
    "path", ["..", ".", "", "x\0y", "../../etc/passwd", "/proc/self/environ", "a/../../x", "\ud800"]
)
def test_paths_lead_nowhere(kernel: Kernel, path: str) -> None:
    with pytest.raises(OSError, match=r"."):
        kernel.wait(kernel.sandbox.get(path))


def test_names_of_files_are_clean(kernel: Kernel) -> None:
    kernel.run(
        "for name in ('a\\nb', 'c\\x1b[31m', 'e\\u202ef', b'\\xff', 'd\\x07', 'good'):\n    open(name, 'w').close()"
    )
    names = [name for name, _ in kernel.wait(kernel.sandbox.ls())]
    assert "good" in names
    assert all(name.isprintable() and "\u202e" not in name for name in names)
