"""Remembers which hints the user has had, so that each is given once."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from .settings import state_folder


def untold(hints: Iterable[str]) -> list[str]:
    """Those of the hints that were never given before; they count as given from now on.

    Kept as hashes in the file ``told`` of the state folder; where that cannot be written, every hint is new.
    """
    path = state_folder() / "told"
    known = _read(path)
    fresh = {_mark(hint): hint for hint in hints if _mark(hint) not in known}
    if fresh:
        _append(path, fresh)
    return list(fresh.values())


def _mark(hint: str) -> str:
    return hashlib.sha256(hint.encode()).hexdigest()[:16]


def _read(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError):
        return set()


def _append(path: Path, marks: Iterable[str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.writelines(f"{mark}\n" for mark in marks)
    except OSError:
        return  # a hint that is given twice does no harm
