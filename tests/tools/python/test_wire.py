"""Frames from a side that nothing good may be assumed of."""

import os
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from arriero.tools.python.errors import SandboxBroken
from arriero.tools.python.wire import Closed, FrameReader, FrameWriter, Stalled, encode


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def soon() -> float:
    return time.monotonic() + 5


def test_frames_arrive_in_whatever_pieces(pipe: tuple[int, int]) -> None:
    reader = FrameReader(pipe[0], 1000, 1000)
    data = encode({"a": "é😀"}) + encode({"b": 2})
    feeder = threading.Thread(target=lambda: [os.write(pipe[1], data[i : i + 1]) for i in range(len(data))])
    feeder.start()
    assert reader.read(soon()) == {"a": "é😀"}
    assert reader.read(soon()) == {"b": 2}
    feeder.join()


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack(">I", 2**32 - 1) + b"x",
        struct.pack(">I", 3) + b"{}}",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 0),
        struct.pack(">I", 2) + b"\xff\xfe",
        struct.pack(">I", 60_000) + b"[" * 60_000,
        struct.pack(">I", 9_000) + b"1" * 9_000,
    ],
    ids=["length", "json", "list", "empty", "utf-8", "deep", "number"],
)
def test_nonsense_is_refused(pipe: tuple[int, int], bad: bytes) -> None:
    reader = FrameReader(pipe[0], 65_000, 10**6)
    os.write(pipe[1], bad)
    with pytest.raises(SandboxBroken):
        reader.read(soon())


def test_the_budget_holds_until_reset(pipe: tuple[int, int]) -> None:
    frame = encode({"x": "y" * 100})
    reader = FrameReader(pipe[0], 1000, len(frame) + 5)
    os.write(pipe[1], frame)
    assert reader.read(soon()) is not None
    reader.reset()
    os.write(pipe[1], frame)
    assert reader.read(soon()) is not None
    os.write(pipe[1], frame)
    with pytest.raises(SandboxBroken, match="more than"):
        reader.read(soon())


def test_end_deadline_and_wake(pipe: tuple[int, int]) -> None:
    reader = FrameReader(pipe[0], 1000, 1000)
    os.write(pipe[1], b"\0\0")
    assert reader.read(time.monotonic() + 0.05) is None
    wake, waker = os.pipe()
    os.write(waker, b"x")
    assert reader.read(soon(), wake) is None
    os.close(wake)
    os.close(waker)
    os.close(pipe[1])
    with pytest.raises(Closed):
        reader.read(soon())


def test_a_side_that_reads_nothing_does_not_block_for_ever(pipe: tuple[int, int]) -> None:
    writer = FrameWriter(pipe[1], patience=0.2)
    with pytest.raises(Stalled):
        writer.write({"x": "y" * 10**6})


def test_a_side_that_went_away(pipe: tuple[int, int]) -> None:
    writer = FrameWriter(pipe[1])
    os.close(pipe[0])
    with pytest.raises(Closed):
        writer.write({"x": 1})


def test_descriptors_beyond_1024_work() -> None:
    import fcntl
    import resource

    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2100:
        pytest.skip("descriptors that high are not allowed here")
    low, write = os.pipe()
    high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 2000)
    os.write(write, encode({"ok": True}))
    assert FrameReader(high, 100, 100).read(soon()) == {"ok": True}
    for end in (low, high, write):
        os.close(end)
