"""What a batch leaves on the disk: a manifest that says what it is, and one line for each row that is done."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from arriero.tools import Artifact

from .errors import TaskError
from .lines import LineFile
from .results import Status, TaskResult

MANIFEST, RESULTS, ARTIFACTS = "manifest.json", "results.jsonl", "artifacts"


class Record(BaseModel):
    """A row that is done: its key, its place in the file when it ran, what it was given, and what came of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: int = 1
    key: str
    row: int
    label: str
    result: TaskResult


class Done(NamedTuple):
    """How a row ended, and where in the results its line begins."""

    status: Status
    offset: int


class Records:
    """The folder of one batch. Results are appended, one line a row, each on the disk before the next begins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ignored = 0
        """Lines of the results that could not be read: half a line that a crash left, or damage."""
        self._results = LineFile(folder / RESULTS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out. Raises TaskError if one is in, or the folder cannot be written to."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise TaskError(f"{self.folder} cannot be written to: {error.strerror or error}") from None
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
        if self._results.path.exists():
            raise TaskError(f"{self.folder} has {RESULTS} and no {MANIFEST}; take another --out")
        write_whole(path, [json.dumps(manifest, indent=1).encode()])

    def done(self) -> dict[str, Done]:
        """The rows that are done, by key; of several lines for one row the last counts."""
        self.ignored = 0
        found: dict[str, Done] = {}
        for offset, line in self._results.lines():
            try:
                record = Record.model_validate_json(line)
            except ValidationError:
                self.ignored += 1
                continue
            found[record.key] = Done(record.result.status, offset)
        return found

    def read(self, rows: Iterable[Done]) -> Iterator[Record]:
        """The records of these rows, one at a time: all of them may be more than memory holds."""
        for line in self._results.at(row.offset for row in rows):
            yield Record.model_validate_json(line)

    def mend(self) -> None:
        """Cut off half a line that a crash has left."""
        self._results.mend()

    def append(self, record: Record, artifacts: Iterable[Artifact] = ()) -> None:
        """Put one row's result on the disk, whole, after what its tools produced. Raises TaskError."""
        try:
            for artifact in artifacts:
                folder = self.folder / ARTIFACTS / record.key
                folder.mkdir(parents=True, exist_ok=True)
                (folder / (Path(artifact.name).name or "artifact")).write_bytes(artifact.data)
        except OSError as error:
            raise TaskError(f"{self.folder / ARTIFACTS} cannot be written: {error.strerror}") from None
        self._results.append(record.model_dump_json().encode("utf-8", "backslashreplace"))

    def _manifest(self) -> dict[str, Any]:
        try:
            value = json.loads((self.folder / MANIFEST).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise TaskError(f"{self.folder / MANIFEST} cannot be read: {error}; take another --out") from None
        return value if isinstance(value, dict) else {}


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Put a file in its place only once all of it is on the disk. Raises TaskError."""
    beside = path.with_name(f"{path.name}.new")
    try:
        # Like the results: what is in it is the user's alone.
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise TaskError(f"{path} cannot be written: {error.strerror or error}") from None


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
