"""Stands between an MCP server and the program that uses it; run by path, with nothing but the standard library.

    python -I -S guard.py PARENT_PID NAMES_OF_VARIABLES COMMAND [ARGUMENT…]

It gives the server only the named variables, passes on only lines that can be messages, of a bounded size, keeps
the last of what else the server printed, and ends the server's whole process group when the server or the parent
has ended.
"""

import os
import selectors
import signal
import subprocess
import sys
from typing import Any, NoReturn

LINE_LIMIT = 16 * 1024 * 1024
TAIL = 4096
POLL = 0.5


class Guard:
    """One server and its output."""

    def __init__(self, parent: int, child: "subprocess.Popen[bytes]") -> None:
        self.parent = parent
        self.child = child
        self.tail = b""
        self.pieces: list[bytes] = []
        self.size = 0

    def watch(self) -> None:
        """Pass on messages until the server or the parent ends, or a message is too large."""
        selector = selectors.DefaultSelector()
        selector.register(self.child.stdout, selectors.EVENT_READ, self.relay)  # type: ignore[arg-type]
        selector.register(self.child.stderr, selectors.EVENT_READ, self.keep)  # type: ignore[arg-type]
        while selector.get_map():
            ready = selector.select(POLL)
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                if data:
                    key.data(data)
                else:
                    selector.unregister(key.fileobj)
            if os.getppid() != self.parent or self.size > LINE_LIMIT:
                return
            if not ready and self.child.poll() is not None:
                return

    def relay(self, data: bytes) -> None:
        """Write whole lines that look like JSON objects to standard output, others to the tail."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = b"".join((*self.pieces, line)).strip()
            self.pieces, self.size = [], 0
            if whole.startswith(b"{") and whole.endswith(b"}"):
                write(whole + b"\n")
            elif whole:
                self.keep(whole + b"\n")
        self.pieces.append(rest)
        self.size += len(rest)
        if self.size > LINE_LIMIT:
            self.keep(b"\na message was larger than %d MiB\n" % (LINE_LIMIT // 2**20))

    def keep(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-TAIL:]


def write(data: bytes) -> None:
    """Write all of it to standard output, however long that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def stop(*_: Any) -> NoReturn:
    raise SystemExit


def main(parent: str, names: str, *command: str) -> None:
    kept = set(names.split(","))
    environment = {name: value for name, value in os.environ.items() if name in kept}
    try:
        child = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode(errors="replace"))
        return
    # The server alone reads standard input, so that it sees the end of it.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    guard = Guard(int(parent), child)
    try:
        signal.signal(signal.SIGTERM, stop)
        guard.watch()
    except OSError:
        return  # nobody reads any more
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.getppid() == int(parent):
            os.write(2, guard.tail)
        child.kill()
        if os.getpgrp() == os.getpid():
            # The guard leads the group and goes with it.
            os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
