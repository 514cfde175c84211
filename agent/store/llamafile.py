"""Llamafiles: a program with a GGUF model inside, as a zip archive behind the program."""

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from .errors import StoreError

MARGIN = 64 << 20  # bytes left free on the disk


def is_llamafile(path: Path) -> bool:
    """Whether a file is a zip archive and no GGUF file."""
    try:
        with path.open("rb") as file:
            return file.read(4) != b"GGUF" and zipfile.is_zipfile(path)
    except OSError:
        return False


def extract(
    path: Path, folder: Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Path:
    """The model inside, written into ``folder`` once; what is already there and has its size is used again.

    The name holds the archive's checksum (CRC-32), so that another version is another file. Raises StoreError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _model_in(archive, path)
            name = PurePosixPath(entry.filename).name
            target = folder / f"{name.removesuffix('.gguf')}-{entry.CRC:08x}.gguf"
            if target.is_file() and target.stat().st_size == entry.file_size:
                return target
            _check_space(folder, entry.file_size)
            part = target.with_name(f"{target.name}.{os.getpid()}.part")
            try:
                with archive.open(entry) as source, part.open("wb") as file:
                    while chunk := source.read(1 << 22):
                        file.write(chunk)
                        on_progress(file.tell(), entry.file_size)
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
            return target
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise StoreError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise StoreError(f"{path}: its model cannot be taken out: {error}") from None


def _model_in(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    models = [entry for entry in archive.infolist() if entry.filename.endswith(".gguf")]
    if len(models) != 1:
        raise StoreError(f"{path} holds {len(models) or 'no'} GGUF models; a llamafile has one")
    return models[0]


def _check_space(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size + MARGIN > free:
        raise StoreError(
            f"{folder} has {free / 1e9:.1f} GB free and the model inside takes {size / 1e9:.1f} GB"
        )
