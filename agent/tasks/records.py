"""What a batch leaves on the disk: a manifest that says what it is, and one line for each row that is done."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import TaskError
from .results import TaskResult

MANIFEST, RESULTS, ARTIFACTS = "manifest.json", "results.jsonl", "artifacts"


class Record(BaseModel):
    """A row that is done: its key, its place in the file when it ran, what it was given, and what came of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: int = 1
    key: str
    row: int
    label: str
    result: TaskResult


class Records:
    """The folder of one batch. Results are appended, one line a row, each on the disk before the next begins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ignored = 0
        """Lines of the results that could not be read: half a line that a crash left, or damage."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out. Raises TaskError if one is in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TaskError(f"another process is writing to {self.folder}") from None
            yield
        finally:
            os.close(handle)

    def begin(self, manifest: Mapping[str, Any], *, resume: bool) -> None:
        """Write the manifest, or see that the one that is there says the same. Raises TaskError."""
        path = self.folder / MANIFEST
        if path.exists():
            if not resume:
                raise TaskError(
                    f"{self.folder} has results already: --resume goes on with them, or take another --out"
                )
            differing = _differing(self._manifest(), manifest)
            if differing:
                raise TaskError(
                    f"{self.folder} holds results of something else ({'; '.join(differing)}); take another --out"
                )
            return
        if (self.folder / RESULTS).exists():
            raise TaskError(f"{self.folder} has {RESULTS} and no {MANIFEST}; take another --out")
        beside = path.with_name(f"{MANIFEST}.new")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(self.folder)

    def read(self) -> dict[str, Record]:
        """The rows that are done, by key; of several lines for one row the last counts."""
        self.ignored = 0
        done: dict[str, Record] = {}
        for line in self._lines():
            try:
                record = Record.model_validate_json(line)
            except ValidationError:
                self.ignored += 1
                continue
            done[record.key] = record
        return done

    def mend(self) -> None:
        """Cut off half a line at the end, so that the next does not begin in the middle of it."""
        path = self.folder / RESULTS
        if not path.exists():
            return
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                return
            keep = size
            while keep > 0:
                start = max(0, keep - (1 << 16))
                file.seek(start)
                block = file.read(keep - start)
                cut = block.rfind(b"\n")
                if cut >= 0:
                    keep = start + cut + 1
                    break
                keep = start
            if keep < size:
                file.truncate(keep)
                os.fsync(file.fileno())

    def append(self, record: Record) -> None:
        """Put one row's result on the disk, whole."""
        data = record.model_dump_json().encode("utf-8", "backslashreplace") + b"\n"
        handle = os.open(self.folder / RESULTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)

    def keep_artifact(self, key: str, name: str, data: bytes) -> None:
        """Keep something that a tool of a row produced."""
        folder = self.folder / ARTIFACTS / key
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (Path(name).name or "artifact")).write_bytes(data)

    def _lines(self) -> Iterator[bytes]:
        try:
            with (self.folder / RESULTS).open("rb") as file:
                yield from (line for line in file if line.strip())
        except FileNotFoundError:
            return

    def _manifest(self) -> dict[str, Any]:
        try:
            value = json.loads((self.folder / MANIFEST).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise TaskError(f"{self.folder / MANIFEST} cannot be read: {error}; take another --out") from None
        return value if isinstance(value, dict) else {}


def _differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    names = ("version", "task", "digest", "model", "model_digest", "sampling", "tools")
    return [
        f"{name} was {there.get(name)!r}, now {here.get(name)!r}"
        for name in names
        if there.get(name) != here.get(name)
    ]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
