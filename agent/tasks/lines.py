"""Files of JSON lines that outlive their process: a line is appended whole, and half a line does no harm."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .errors import TaskError

_BLOCK = 1 << 16  # bytes


class LineFile:
    """One such file; it need not be there yet. Its mode is 0600: rows hold what people gave."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: bytes) -> None:
        """Put a line on the disk; it is there when this returns, and not a part of it when this raises TaskError."""
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            before = os.fstat(handle).st_size
            try:
                view = memoryview(line + b"\n")
                while view:
                    view = view[os.write(handle, view) :]
                os.fsync(handle)
            except OSError as error:
                with suppress(OSError):
                    os.ftruncate(handle, before)
                raise TaskError(
                    f"{self.path} cannot be written: {error.strerror or error}; what is in it is whole: "
                    "make room, and --resume does the rest"
                ) from None
        finally:
            os.close(handle)

    def mend(self) -> None:
        """Cut off half a line at the end, so that the next does not begin in the middle of it."""
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            size = keep = file.seek(0, os.SEEK_END)
            while keep > 0:
                start = max(0, keep - _BLOCK)
                file.seek(start)
                cut = file.read(keep - start).rfind(b"\n")
                keep = start + cut + 1 if cut >= 0 else start
                if cut >= 0:
                    break
            if keep < size:
                file.truncate(keep)
                os.fsync(file.fileno())

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that hold something, each with its offset in bytes."""
        try:
            with self.path.open("rb") as file:
                offset = 0
                for line in file:
                    if line.strip():
                        yield offset, line
                    offset += len(line)
        except FileNotFoundError:
            return

    def at(self, offsets: Iterator[int]) -> Iterator[bytes]:
        """The lines at these offsets."""
        with self.path.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                yield file.readline()
