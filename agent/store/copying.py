"""Copying one large file into the store: with a checksum, and nothing half-finished under its name."""

import hashlib
import os
import shutil
from pathlib import Path

from .download import MARGIN, Fetched, Progress
from .errors import StoreError

_CHUNK = 1 << 20


def copied(source: Path, target: Path, *, sha256: str = "", on_progress: Progress) -> Fetched:
    """Copy a file to ``target``, which appears only when it is whole and its sum is ``sha256``, where that is given.

    Raises StoreError: no such file, no space, another sum.
    """
    beside = target.with_name(f"{target.name}.part")
    try:
        size = source.stat().st_size
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if size + MARGIN > free:
            raise StoreError(
                f"the disk of {target.parent} has {free / 1e9:.1f} GB free and {source.name} takes "
                f"{size / 1e9:.1f} GB; make room, or keep models elsewhere with ARRIERO_HOME"
            )
        digest = _copy(source, beside, size, on_progress)
        if sha256 and digest != sha256.lower():
            raise StoreError(f"{source} does not match its checksum (SHA-256 {digest}, expected {sha256})")
        os.replace(beside, target)
    except OSError as error:
        raise StoreError(f"{error.filename or source} cannot be copied: {error.strerror or error}") from None
    finally:
        beside.unlink(missing_ok=True)
    return Fetched(size, digest, checked=bool(sha256))


def _copy(source: Path, target: Path, size: int, on_progress: Progress) -> str:
    digest, done = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("wb") as write:
        while chunk := read.read(_CHUNK):
            write.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            on_progress(done, size)
        write.flush()
        os.fsync(write.fileno())
    return digest.hexdigest()
