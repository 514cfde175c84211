"""Ordinary notebook work that has to go on working behind the walls."""

import pytest
from kernel import Kernel

# The code and a part of what it has to print.
EVERYWHERE: dict[str, tuple[str, str]] = {
    "asyncio": (
        "import asyncio\nasync def f():\n    await asyncio.sleep(.01)\n    return 5\nprint(await f())",
        "5",
    ),
    "ctypes": ("import ctypes\nprint(ctypes.CDLL(None).getpid() > 0)", "True"),
    "dataclasses": ("import dataclasses as d\n@d.dataclass\nclass A:\n    x: int = 3\nA()", "A(x=3)"),
    "getsource": ("import inspect\ndef f(): return 1\nprint(inspect.getsource(f))", "def f(): return 1"),
    "history": ("print(len(In) > 0, _oh is not None)", "True True"),
    "locale": ("print('é中文😀')", "é中文😀"),
    "magic": ("%timeit -n1 -r1 sum(range(1000))", "loop"),
    "mmap": ("import mmap\nm = mmap.mmap(-1, 4096, prot=7)\nprint('ok')", "ok"),
    "no input": (
        "try:\n    input('x')\nexcept Exception as e:\n    print(type(e).__name__)",
        "StdinNotImplementedError",
    ),
    "os": ("import os\nprint(os.cpu_count() > 0, os.nice(0) is not None)", "True True"),
    "sqlite": (
        "import sqlite3\nc = sqlite3.connect('x.db')\nc.execute('create table if not exists t(a)')\n"
        "c.execute('insert into t values(1)')\nc.commit()\nprint(c.execute('select max(a) from t').fetchall())",
        "[(1,)]",
    ),
    "subprocess": (
        "import subprocess as s\nprint(s.run('echo hi | wc -c', shell=True, capture_output=True, text=True).stdout)",
        "3",
    ),
    "shell": ("!echo from the shell", "from the shell"),
    "script": ("%%bash\necho from bash", "from bash"),
    "symlinks": (
        "import os\nos.makedirs('dd', exist_ok=True)\nos.path.lexists('ll') or os.symlink('dd', 'll')\n"
        "print(os.path.isdir('ll'))",
        "True",
    ),
    "tempfile": (
        "import tempfile\nwith tempfile.NamedTemporaryFile() as f:\n    f.write(b'x')\nprint('written')",
        "written",
    ),
    "threads": (
        "import threading\nr = []\nt = [threading.Thread(target=r.append, args=(i,)) for i in range(32)]\n"
        "[x.start() for x in t]\n[x.join() for x in t]\nprint(len(r))",
        "32",
    ),
    "zip": (
        "import shutil, os\nos.makedirs('dd', exist_ok=True)\nopen('dd/a', 'w').write('x')\n"
        "print(os.path.basename(shutil.make_archive('arch', 'zip', 'dd')), shutil.copy('dd/a', 'b'))",
        "arch.zip b",
    ),
    "children that nobody asks for": (
        "import subprocess, time\np = [subprocess.Popen('true') for _ in range(3)]\ntime.sleep(1.5)\nprint('here')",
        "here",
    ),
    "zoneinfo": (
        "import zoneinfo, datetime as d\nz = d.timezone.utc\nprint(d.datetime(2024, 1, 1, tzinfo=z).isoformat())",
        "2024-01-01T00:00:00+00:00",
    ),
    "user": (
        "import getpass, os\nprint(getpass.getuser(), os.path.isdir(os.path.expanduser('~')))",
        "user True",
    ),
}
WITH_NAMESPACES: dict[str, tuple[str, str]] = {
    "fork pool": (
        "import multiprocessing as mp\ndef f(x): return x * x\n"
        "with mp.get_context('fork').Pool(2) as p:\n    print(p.map(f, [1, 2, 3]))",
        "[1, 4, 9]",
    ),
    "spawn pool": (
        "import multiprocessing as mp, math\n"
        "with mp.get_context('spawn').Pool(1) as p:\n    print(p.map(math.sqrt, [9]))",
        "[3.0]",
    ),
    "executor": (
        "from concurrent.futures import ProcessPoolExecutor as P\nimport math\n"
        "with P(1) as p:\n    print(list(p.map(math.sqrt, [4])))",
        "[2.0]",
    ),
    "manager": (
        "import multiprocessing as mp\nm = mp.Manager()\nd = m.dict()\nd['a'] = 1\nprint(dict(d))\nm.shutdown()",
        "{'a': 1}",
    ),
    "shared memory": (
        "from multiprocessing import shared_memory as s\nx = s.SharedMemory(create=True, size=1 << 20)\n"
        "x.buf[0] = 7\nprint(x.buf[0])\nx.close()\nx.unlink()",
        "7",
    ),
    "local server": (
        "import threading, http.server as h, urllib.request as u\n"
        "s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler)\n"
        "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
        "print(u.urlopen(f'http://127.0.0.1:{s.server_port}/').status)\ns.shutdown()",
        "200",
    ),
    "pty": ("import pty, os\nm, s = pty.openpty()\nprint(os.write(s, b'x'), os.read(m, 1))", "1 b'x'"),
    "psutil": (
        "import os\nprint(os.path.exists('/proc/meminfo'), len(os.listdir('/proc')) > 5)",
        "True True",
    ),
}


def works(kernel: Kernel, code: str, expected: str) -> None:
    done = kernel.run(code)
    assert expected in done.stdout, done


@pytest.mark.parametrize("name", EVERYWHERE)
def test_everywhere(kernel: Kernel, name: str) -> None:
    works(kernel, *EVERYWHERE[name])


@pytest.mark.parametrize("name", WITH_NAMESPACES)
def test_with_namespaces(kernel: Kernel, name: str) -> None:
    if kernel.level == "landlock":
        pytest.skip("needs namespaces of its own")
    works(kernel, *WITH_NAMESPACES[name])
