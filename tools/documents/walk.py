"""Which files of a folder are documents: plain files, not hidden, not in a folder that tools fill."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SKIPPED: Final = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
"""Folders left out wherever they are; so are hidden ones and Python environments of any name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file: its path below the root, as bytes, its time of change in nanoseconds and its size in bytes."""

    path: bytes
    changed: int
    size: int


def walk(root: str | os.PathLike[str]) -> Iterator[Found]:
    """All documents below a folder, in no order; folders that cannot be read are passed over.

    Links are not followed, neither to folders nor to files: they may lead in a circle or out of the folder.
    """
    top = os.fsencode(root)
    folders = [b""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(top, folder)) as entries:
                inside = list(entries)
        except OSError:
            continue
        if folder and any(entry.name == b"pyvenv.cfg" for entry in inside):
            continue
        for entry in inside:
            if entry.name.startswith(b"."):
                continue
            path = os.path.join(folder, entry.name)
            try:
                if entry.is_dir(follow_symlinks=False):
                    if os.fsdecode(entry.name) not in SKIPPED:
                        folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield Found(path, status.st_mtime_ns, status.st_size)
            except OSError:
                continue
