"""A gateway that lies: whatever it sends, the caller ends it, says so, and neither hangs nor grows."""

import base64
import json
import os
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from arriero.tools.python import Execution, SandboxBroken, SandboxLimits
from arriero.tools.python.process import Child
from arriero.tools.python.session import Cancel, Session

LIMITS = SandboxLimits(wall_s=1.0, interrupt_grace_s=0.5, output_chars=10_000, image_mb=1, images=3)
Script = Callable[["Liar"], None]


class Liar:
    """Takes the place of a sandbox's processes: a thread that answers what it likes."""

    def __init__(self, script: Script) -> None:
        self._take, self.commands = os.pipe()
        self.answers, self._give = os.pipe()
        self.pid = os.getpid()
        self._alive = True
        self._script = script
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.command()
            self._script(self)
        except OSError:
            return

    def command(self) -> Any:
        (length,) = struct.unpack(">I", os.read(self._take, 4))
        return json.loads(os.read(self._take, length))

    def raw(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._give, view) :]

    def say(self, **message: Any) -> None:
        body = json.dumps(message).encode()
        self.raw(struct.pack(">I", len(body)) + body)

    def end(self) -> None:
        os.close(self._give)
        self._give = -1

    def alive(self) -> bool:
        return self._alive

    def out_of_memory(self) -> bool:
        return False

    def kill(self) -> None:
        self._alive = False

    def close(self) -> None:
        self.kill()
        for end in (self.commands, self.answers):
            os.close(end)
        self.thread.join(5)
        for end in (self._take, self._give):
            if end >= 0:
                os.close(end)


def ask(script: Script) -> Execution:
    liar = Liar(script)
    session = Session(cast(Child, liar), LIMITS)
    cancel = Cancel()
    began = time.monotonic()
    try:
        return session.execute("1", LIMITS.wall_s, lambda stream, text: None, cancel)
    finally:
        cancel.close()
        session.close()
        assert time.monotonic() - began < 20


def forever(piece: bytes) -> Script:
    def script(liar: Liar) -> None:
        while True:
            liar.raw(piece)

    return script


def drip(liar: Liar) -> None:
    while True:
        liar.raw(b"\0")
        time.sleep(0.2)


ENDLESS = json.dumps({"t": "out", "id": 1, "s": "stdout", "d": "x" * 10_000}).encode()


@pytest.mark.parametrize(
    "script",
    [
        lambda liar: liar.raw(struct.pack(">I", 2**32 - 1)),
        lambda liar: liar.raw(struct.pack(">I", 100_000) + b"[" * 100_000),
        lambda liar: liar.raw(struct.pack(">I", 4) + b"\xff\xff\xff\xff"),
        lambda liar: liar.say(t="died", status="nonsense"),
        lambda liar: liar.say(t="died", status=2**70),
        lambda liar: liar.say(t="fatal", d=[1, 2]),
        lambda liar: liar.end(),
        lambda liar: None,
        forever(struct.pack(">I", len(ENDLESS)) + ENDLESS),
        forever(b"\0" * 65_536),
        drip,
    ],
    ids=[
        "length",
        "deep",
        "utf-8",
        "status",
        "big status",
        "fatal",
        "end",
        "silence",
        "endless",
        "zeros",
        "drip",
    ],
)
def test_a_lie_costs_the_kernel_only(script: Script) -> None:
    done = ask(script)
    assert done.state_lost
    assert done.status in ("error", "timeout")
    assert len(done.stdout) <= LIMITS.output_chars + 100


def test_wrong_types_are_passed_over() -> None:
    def script(liar: Liar) -> None:
        for wrong in (None, 5, [], {}, True):
            liar.say(t="out", id=1, s="stdout", d=wrong)
            liar.say(t="image", id=1, m=wrong, d=wrong)
            liar.say(t=wrong, id=1)
        liar.say(t="out", id=99, s="stdout", d="of another cell")
        liar.say(t="out", id=1, s="elsewhere", d="kept\x1b[2J")
        liar.say(t="done", id=1, status=wrong, dropped={"stdout": "many"}, tail=7)

    done = ask(script)
    assert (done.status, done.stdout, done.images) == ("completed", "kept", ())


def test_many_images_and_a_false_tail_are_bounded() -> None:
    header = b"\0\0\0\rIHDR\0\0\0\1\0\0\0\1\1\0\0\0\0" + bytes(4)
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + header + b"\0\0\0\0IEND" + bytes(4)).decode()

    def script(liar: Liar) -> None:
        for _ in range(100):
            liar.say(t="image", id=1, m="image/png", d=png)
        liar.say(t="done", id=1, status="ok", dropped={"stdout": 10**30}, tail={"stdout": "t" * 200_000})

    done = ask(script)
    assert len(done.images) == LIMITS.images
    assert len(done.stdout) < 70_000


@pytest.mark.parametrize(
    "answer",
    [{"files": 5}, {"files": [["a\x1b[2J", 1], ["ok", "size"], [1, 2], "x"]}, {"files": None}],
)
def test_listings_are_checked(answer: dict[str, Any]) -> None:
    liar = Liar(lambda liar: liar.say(t="done", id=1, status="ok", **answer))
    session = Session(cast(Child, liar), LIMITS)
    assert session.ls() == []
    session.close()


def test_a_broken_file_and_a_refusal() -> None:
    liar = Liar(lambda liar: liar.say(t="done", id=1, status="ok", data="!!"))
    session = Session(cast(Child, liar), LIMITS)
    with pytest.raises(OSError, match="broken"):
        session.get("x")
    session.close()
    liar = Liar(lambda liar: liar.end())
    session = Session(cast(Child, liar), LIMITS)
    with pytest.raises(SandboxBroken):
        session.get("x")
    session.close()
