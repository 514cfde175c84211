"""One kernel at each level that works here: what comes back, what stays, what is refused."""

import time

import pytest
from kernel import Kernel


def test_print_value_and_state(kernel: Kernel) -> None:
    assert kernel.run("x = 20; print('a', end=''); x + 3").stdout == "a\n23"
    assert kernel.run("x * 47").stdout == "940"
    assert kernel.run("x;").stdout == ""


def test_traceback_without_files(kernel: Kernel) -> None:
    done = kernel.run("def f():\n    return 1 / 0\n\nf()")
    assert done.status == "completed"
    assert done.failed
    assert done.stderr == (
        "Traceback (most recent call last):\n  line 4, in <module>\n  line 2, in f\n"
        "ZeroDivisionError: division by zero"
    )


def test_chained_and_syntax_errors(kernel: Kernel) -> None:
    chained = kernel.run(
        "try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise ValueError('b') from e"
    ).stderr
    assert "ZeroDivisionError" in chained
    assert "direct cause" in chained
    assert chained.endswith("ValueError: b")
    broken = kernel.run("if True\n    pass").stderr
    assert broken.startswith("line 1")
    assert "SyntaxError" in broken


def test_streams_are_apart_and_text_is_clean(kernel: Kernel) -> None:
    done = kernel.run(
        "import sys, os\nprint('\\x1b[31mred\\u202e'); print('w', file=sys.stderr); os.write(1, b'\\xff\\n')"
    )
    assert "red" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == "w"


def test_surrogates_and_odd_names(kernel: Kernel) -> None:
    assert kernel.run("print('\\ud800x')").stdout.endswith("x")
    assert kernel.run("'\udc80'") is not None
    kernel.run("open(b'bad\\xffname', 'w'); open('fine.txt', 'w').write('f')")
    names = [name for name, _ in kernel.wait(kernel.sandbox.ls())]
    assert "fine.txt" in names
    assert all(name.isprintable() for name in names)


def test_files_in_and_out(kernel: Kernel) -> None:
    kernel.wait(kernel.sandbox.put("in.csv", b"a,b\n1,2\n"))
    assert kernel.run("print(open('in.csv').read())").stdout == "a,b\n1,2"
    kernel.run("import os; os.makedirs('d', exist_ok=True); open('d/out.bin', 'wb').write(bytes(range(256)))")
    assert kernel.wait(kernel.sandbox.get("d/out.bin")) == bytes(range(256))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 300, "n\0l"])
def test_odd_upload_names_are_refused(kernel: Kernel, name: str) -> None:
    with pytest.raises(OSError, match=r"."):
        kernel.wait(kernel.sandbox.put(name, b""))


def test_links_lead_nowhere(kernel: Kernel) -> None:
    kernel.run(
        "import os\nfor n, t in (('l', '/usr/bin/env'), ('dl', '/usr')):\n"
        "    os.path.lexists(n) or os.symlink(t, n)\nos.mkfifo('fifo')"
    )
    for path in ("l", "dl/bin/env", "../etc/passwd", "/etc/passwd", "fifo", "d", "missing"):
        with pytest.raises(OSError, match=r"."):
            kernel.wait(kernel.sandbox.get(path))
    kernel.wait(kernel.sandbox.put("l", b"mine"))
    assert kernel.wait(kernel.sandbox.get("l")) == b"mine"


def test_sizes_are_limited(kernel: Kernel) -> None:
    kernel.run("open('sparse', 'wb').truncate(3 << 20)")
    with pytest.raises(OSError, match="more than"):
        kernel.wait(kernel.sandbox.get("sparse"))
    with pytest.raises(OSError, match="more than"):
        kernel.wait(kernel.sandbox.put("big", bytes(3 << 20)))
    with pytest.raises(ValueError, match="characters"):
        kernel.run("#" * 1_000_001)


def test_images(kernel: Kernel) -> None:
    pytest.importorskip("matplotlib")
    done = kernel.run("import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()")
    assert [image.mime for image in done.images] == ["image/png"], done
    assert done.images[0].data.startswith(b"\x89PNG")


def test_false_images_and_active_content_stay_out(kernel: Kernel) -> None:
    done = kernel.run(
        "from IPython.display import display\n"
        "display({'image/png': 'AAAA'}, raw=True)\n"
        "display({'text/html': '<script>', 'text/plain': 'p'}, raw=True)"
    )
    assert done.images == ()
    assert "script" not in done.stdout
    assert done.stdout == "p"


def test_flood_keeps_head_and_tail(kernel: Kernel) -> None:
    done = kernel.run("print('HEAD')\nfor i in range(60): print('A' * 10000)\nprint('TAIL')")
    assert done.stdout.startswith("HEAD")
    assert len(done.stdout) < 300_000
    assert done.left_out > 0 or "TAIL" in done.stdout


def test_huge_repr_and_no_input(kernel: Kernel) -> None:
    assert len(kernel.run("'z' * 5_000_000").stdout) < 300_000
    assert "StdinNotImplementedError" in kernel.run("input('password: ')").stderr


def test_host_is_out_of_reach(kernel: Kernel) -> None:
    code = (
        "import os, socket\n"
        "def t(f):\n"
        "    try: return f() and 'REACHED'\n"
        "    except Exception as e: return type(e).__name__\n"
        "print(t(lambda: open('/etc/shadow').read()), t(lambda: os.listdir('/')), t(lambda: os.kill(1, 9)))\n"
        "print(t(lambda: socket.create_connection(('192.0.2.1', 9), 2)))\n"
        "print([k for k in os.environ if 'SECRET' in k], os.open.__name__)\n"
    )
    assert "REACHED" not in kernel.run(code).stdout


def test_loop_is_interrupted_and_state_is_kept(kernel: Kernel) -> None:
    kernel.run("kept = 'yes'")
    done = kernel.run("print('begun', flush=True)\nwhile True: pass", 1.0)
    assert (done.status, done.state_lost) == ("timeout", False)
    assert done.stdout == "begun\nTimed out"
    assert done.note == "stopped after 1 s; variables are kept"
    assert kernel.run("kept").stdout == "'yes'"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os._exit(3)", "exit code 3"),
        ("import ctypes; ctypes.string_at(0)", "segmentation fault"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed"),
    ],
)
def test_death_is_told_and_survived(kernel: Kernel, code: str, reason: str) -> None:
    kernel.run("y = 1")
    done = kernel.run(code)
    assert done.status == "error"
    assert done.state_lost
    assert reason in done.stderr
    assert "all variables" in done.note
    assert "NameError" in kernel.run("y").stderr


@pytest.mark.parametrize(
    "code",
    [
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    ],
    ids=["deaf", "stopped"],
)
def test_what_ignores_the_interrupt_is_killed(kernel: Kernel, code: str) -> None:
    begun = time.monotonic()
    done = kernel.run(code, 0.5)
    assert time.monotonic() - begun < 40
    assert (done.status, done.state_lost) == ("timeout", True)
    assert "all variables" in done.note
    assert kernel.run("1 + 1").stdout == "2"


def test_processes_are_limited(kernel: Kernel) -> None:
    code = (
        "import os, time\nn = 0\ntry:\n    while n < 300:\n        if os.fork() == 0: time.sleep(20); os._exit(0)\n"
        "        n += 1\nexcept OSError: pass\ntime.sleep(3); print('forked', n)"
    )
    done = kernel.run(code)
    assert done.state_lost or int(done.stdout.split()[-1]) < 100
    if done.state_lost:
        assert "processes" in done.stderr
    assert kernel.run("1 + 1").stdout in ("2", "")


def test_memory_is_limited(kernel: Kernel) -> None:
    assert "MemoryError" in kernel.run("bytearray(b'1') * (1700 << 20)").stderr
    code = (
        "import os, time\nfor i in range(4):\n    if os.fork() == 0:\n"
        "        x = bytearray(b'1') * (300 << 20); time.sleep(20); os._exit(0)\ntime.sleep(20)"
    )
    done = kernel.run(code, 60)
    assert done.state_lost
    assert "MiB of memory" in done.stderr
    assert kernel.run("1 + 1").stdout == "2"


def test_files_are_limited(kernel: Kernel) -> None:
    done = kernel.run("import time\nfor i in range(9000): open(f'f{i}', 'w').close()\ntime.sleep(60)")
    assert done.state_lost
    assert "files" in done.stderr
    # What is imported ahead may by now have made its own folders there.
    assert kernel.run("import os; sum(n.startswith('f') for n in os.listdir())").stdout == "0"
