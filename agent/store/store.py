"""The folder of models: one folder each, with a record of where its files came from and what their sums are."""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from arriero.tools._http import Retry

from ..backends.base import ModelError
from ..backends.gguf import GGUFInfo
from .catalogue import Catalogue, bundled_catalogue
from .copying import copied
from .download import Fetched, download, file_sha256
from .errors import StoreError
from .hub import Hub
from .llamafile import extract, is_llamafile
from .lock import locked
from .reference import Reference, read_reference

RECORD = "model.json"

Progress = Callable[[str, int, int], None]
"""Told a file's name, the bytes of it that are there, and those that there will be (0: not known)."""


class StoredFile(BaseModel):
    """A file as it arrived; ``checked`` says whether its sum is one that the source told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    url: str
    size: int
    sha256: str
    checked: bool = False


class Installed(BaseModel):
    """A model in the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    name: str
    reference: str
    fetched: datetime
    licence: str = ""
    files: tuple[StoredFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


class ModelStore:
    """Models under ``folder`` (default: ``models`` in arriero's folder for data, which ARRIERO_HOME moves)."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        catalogue: Catalogue | None = None,
        hub: Hub | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.folder = folder or default_folder()
        self.catalogue = catalogue or bundled_catalogue()
        self._hub = hub
        self._retry = retry

    async def pull(
        self, reference: str, *, sha256: str = "", on_progress: Progress = lambda name, done, total: None
    ) -> Path:
        """Fetch a model, or go on with it, and return the path to load. ``sha256`` is that of a single file.

        What is there and whole is not fetched again. Raises StoreError.
        """
        meant = read_reference(reference, self.catalogue)
        place = self.folder / meant.name
        busy = f"{meant.name} is being fetched by another process; wait for it, or stop it and call again"
        with locked(self.folder / f".{meant.name}.lock", busy):
            known = {file.name: file for file in self._files(place)}
            sources = await (self._hub or Hub.from_env()).sources(meant)
            if sha256 and len(sources) > 1:
                raise StoreError("a checksum can be given for a model of one file only")
            done: list[StoredFile] = []
            for name, source in sources.items():
                file = known.get(name)
                if file is None or not _whole(place / name, file):
                    wanted = sha256.lower() or source.sha256
                    asked = type(source)(source.url, source.size, wanted, source.headers)
                    fetched = await download(
                        asked, place / name, on_progress=_named(on_progress, name), retry=self._retry
                    )
                    if not fetched.checked:
                        _check_header(place / name)
                    file = _record(name, source.url, fetched)
                done.append(file)
            self._write(meant, reference, place, done)
        return self._entry_point(place, done)

    def take(
        self,
        reference: str,
        files: Sequence[Path],
        *,
        sha256: str = "",
        on_progress: Progress = lambda name, done, total: None,
    ) -> Path:
        """Put files that are here already under a name, as if they had been fetched; the path to load.

        They are copied. ``sha256`` is that of a single file. Raises StoreError for what is no model, another sum, a
        full disk.
        """
        meant = read_reference(reference, self.catalogue)
        if sha256 and len(files) > 1:
            raise StoreError("a checksum can be given for a model of one file only")
        place = self.folder / meant.name
        busy = f"{meant.name} is being fetched by another process; wait for it, or stop it and call again"
        with locked(self.folder / f".{meant.name}.lock", busy):
            done = []
            for file in files:
                taken = copied(
                    file, place / file.name, sha256=sha256, on_progress=_named(on_progress, file.name)
                )
                if not taken.checked:
                    _check_header(place / file.name)
                done.append(_record(file.name, file.absolute().as_uri(), taken))
            self._write(meant, reference, place, done)
        return self._entry_point(place, done)

    def installed(self) -> tuple[Installed, ...]:
        """The models that are here, by name."""
        found = [self._read(record.parent) for record in sorted(self.folder.glob(f"*/{RECORD}"))]
        return tuple(one for one in found if one)

    def find(self, name: str) -> Installed | None:
        """A model that is here, by the name of its folder or by the reference it was pulled with."""
        try:
            folder = read_reference(name, self.catalogue).name
        except StoreError:
            folder = name
        return next((one for one in self.installed() if folder == one.name or name == one.reference), None)

    def path(self, name: str) -> Path:
        """What to load of a model that is here: its GGUF file, the first of a split one, or a classifier's folder.

        Raises StoreError if it is not here, or not whole.
        """
        model = self.find(name)
        if model is None:
            read_reference(name, self.catalogue)
            raise StoreError(f"{name} is not on this machine; get it with: arriero models pull {name}")
        place = self.folder / model.name
        for file in model.files:
            if not _whole(place / file.name, file):
                raise StoreError(
                    f"{place / file.name} is missing or has another size; arriero models pull {name}"
                )
        return self._entry_point(place, list(model.files))

    def verify(self, name: str, *, on_progress: Progress = lambda name, done, total: None) -> list[str]:
        """Read every file again and compare its sum with the record; what is wrong, one line a file."""
        model = self._required(name)
        wrong: list[str] = []
        for file in model.files:
            path = self.folder / model.name / file.name
            on_progress(file.name, 0, file.size)
            if not path.is_file():
                wrong.append(f"{path}: is missing")
            elif path.stat().st_size != file.size:
                wrong.append(f"{path}: has {path.stat().st_size} bytes instead of {file.size}")
            elif (found := file_sha256(path)) != file.sha256:
                wrong.append(f"{path}: has the SHA-256 {found} instead of {file.sha256}")
            on_progress(file.name, file.size, file.size)
        return wrong

    def discard_broken(self, name: str) -> None:
        """Delete files that do not match their record, so that ``pull`` fetches them again."""
        for line in self.verify(name):
            Path(line.partition(": ")[0]).unlink(missing_ok=True)

    def remove(self, name: str) -> int:
        """Delete a model and what has arrived of it; the bytes that it took. Raises StoreError if it is not here."""
        model = self.find(name)
        place = self.folder / model.name if model else self._begun(name)
        if place is None:
            place = self.folder / self._required(name).name
        with locked(self.folder / f".{place.name}.lock", f"{place.name} is being fetched; stop that first"):
            size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
            shutil.rmtree(place)
        (self.folder / f".{place.name}.lock").unlink(missing_ok=True)
        return size

    def _begun(self, name: str) -> Path | None:
        """The folder of a model of which only a part has arrived."""
        try:
            place = self.folder / read_reference(name, self.catalogue).name
        except StoreError:
            return None
        return place if place.is_dir() else None

    def _required(self, name: str) -> Installed:
        model = self.find(name)
        if model is None:
            here = ", ".join(one.name for one in self.installed()) or "none yet"
            raise StoreError(f"{name} is not on this machine; here are: {here}")
        return model

    def _entry_point(self, place: Path, files: list[StoredFile]) -> Path:
        names = sorted(file.name for file in files)
        if llamafile := next((name for name in names if is_llamafile(place / name)), None):
            return extract(place / llamafile, place)
        return next((place / name for name in names if name.endswith(".gguf")), place)

    def _files(self, place: Path) -> tuple[StoredFile, ...]:
        model = self._read(place)
        return model.files if model else ()

    def _read(self, place: Path) -> Installed | None:
        try:
            model = Installed.model_validate_json((place / RECORD).read_text("utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError):
            return None
        # The record is a file like any other: a name in it must not lead out of its folder.
        honest = model.name == place.name and all(Path(file.name).name == file.name for file in model.files)
        return model if honest else None

    def _write(self, meant: Reference, text: str, place: Path, files: list[StoredFile]) -> None:
        model = Installed(
            name=meant.name,
            reference=text,
            fetched=datetime.now(UTC),
            licence=meant.licence,
            files=tuple(files),
        )
        beside = place / f"{RECORD}.new"
        beside.write_text(model.model_dump_json(indent=1), "utf-8")
        beside.replace(place / RECORD)


def default_folder() -> Path:
    """``models`` in arriero's folder for data."""
    from ..cli.settings import data_folder

    return data_folder() / "models"


def _check_header(path: Path) -> None:
    """Refuse what is no model, such as a page that asks for a login, where no sum could tell."""
    if path.suffix != ".gguf":
        return
    try:
        GGUFInfo.read(path)
    except ModelError as error:
        path.unlink()
        raise StoreError(f"what came is no model and was removed: {error}") from None


def _whole(path: Path, file: StoredFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size


def _record(name: str, url: str, fetched: Fetched) -> StoredFile:
    return StoredFile(name=name, url=url, size=fetched.size, sha256=fetched.sha256, checked=fetched.checked)


def _named(on_progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: on_progress(name, done, total)
