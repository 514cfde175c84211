"""Keeps what tools produced besides text: images, files, outputs that were cut."""

import os
import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from arriero.agent.events import ArtifactRef

from .settings import data_folder

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def keep(run_id: str, artifacts: Iterable[ArtifactRef]) -> list[Path]:
    """Write artifacts into the run's folder, ``runs/RUN_ID`` under the data folder, and return their paths.

    Names come from untrusted code: only letters, digits, ``.``, ``_`` and ``-`` stay, and a file that exists
    is never replaced. Files are readable by their owner only. Raises OSError.
    """
    folder = data_folder() / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [_write(folder, artifact) for artifact in artifacts]


def _write(folder: Path, artifact: ArtifactRef) -> Path:
    name = _UNSAFE.sub("_", artifact.name.rsplit("/", 1)[-1]).lstrip(".")[-100:] or "artifact"
    stem, dot, suffix = name.rpartition(".")
    for number in count(1):
        numbered = (
            name if number == 1 else f"{stem or suffix}-{number}{dot if stem else ''}{suffix if stem else ''}"
        )
        path = folder / numbered
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(handle, "wb") as file:
            file.write(artifact.data)
        return path
    raise AssertionError("count() never ends")


def write_new(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file that only its owner can read; one that is there stays unless ``replace``. Raises OSError."""
    how = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if replace else os.O_EXCL)
    with os.fdopen(os.open(path, how, 0o600), "wb") as file:
        file.write(data)
