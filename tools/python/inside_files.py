"""Files in and out of the work directory, without following anything the model planted (runs inside)."""

import base64
import contextlib
import ctypes
import os
import re
import secrets
import stat
import struct
from collections.abc import Mapping
from typing import Any

_NR_OPENAT2 = 437
_NO_MOUNTS, _NO_MAGIC_LINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_NAME = re.compile(r"[^\W_][\w.\- ]{0,199}")
_MOST_LISTED = 1000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def answer(job: Mapping[str, Any], work: str) -> dict[str, Any]:
    """Do one ``put``, ``get`` or ``ls``; problems come back as status ``error``."""
    try:
        match job["op"]:
            case "put":
                put(work, job["path"], base64.b64decode(job["data"]))
                return {"status": "ok"}
            case "get":
                return {"status": "ok", "data": base64.b64encode(get(work, job["path"], job["max"])).decode()}
            case "ls":
                return {"status": "ok", "files": listing(work)}
            case other:
                return {"status": "error", "reason": f"no operation {other!r}"}
    except (OSError, ValueError, RecursionError) as error:
        return {"status": "error", "reason": str(error)[:500]}


def check_name(name: str) -> None:
    """Raise OSError unless the name is a plain one: no path, nothing hidden, nothing unprintable."""
    if not _NAME.fullmatch(name):
        raise OSError(f"not a plain file name: {name!r}")


def put(work: str, name: str, data: bytes) -> None:
    """Write a new file directly in the work directory, replacing whatever had that name, links included."""
    check_name(name)
    directory = os.open(work, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(data)
    finally:
        os.close(directory)


def get(work: str, path: str, most: int) -> bytes:
    """Read a regular file of at most ``most`` bytes beneath the directory; OSError for links of both kinds,
    devices and mounts."""
    directory = os.open(work, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    how = struct.pack(
        "QQQ",
        os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC,
        0,
        _NO_MOUNTS | _NO_MAGIC_LINKS | _NO_SYMLINKS | _BENEATH,
    )
    try:
        found = _libc.syscall(
            _NR_OPENAT2, directory, os.fsencode(path), ctypes.c_char_p(how), ctypes.c_size_t(len(how))
        )
        code = ctypes.get_errno()
    finally:
        os.close(directory)
    if found < 0:
        raise OSError(code, os.strerror(code))
    with os.fdopen(found, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        if status.st_nlink != 1:
            raise OSError("the file has a second name (a hard link), which may be anywhere")
        if status.st_size > most:
            raise OSError(f"{status.st_size} bytes is more than {most}")
        return file.read(most)


def remove_tree(directory: str) -> None:
    """Remove a directory and all in it, whatever its names, modes and depth; OSError where something is in the way.

    Not by ``shutil.rmtree``, which gives up on directories that cannot be listed and on very deep ones.
    """
    top = _open_to_empty(directory, None)
    try:
        while names := os.listdir(top):
            for name in names:
                _remove_or_flatten(name, top)
    finally:
        os.close(top)
    os.rmdir(directory)


def _remove_or_flatten(name: str, top: int) -> None:
    """Remove one entry; what is in a directory comes to lie beside it, so that no path ever gets longer."""
    try:
        os.unlink(name, dir_fd=top)
        return
    except IsADirectoryError:
        inner = _open_to_empty(name, top)
    try:
        for child in os.listdir(inner):
            try:
                os.unlink(child, dir_fd=inner)
            except IsADirectoryError:
                os.close(_open_to_empty(child, inner))
                os.rename(child, secrets.token_hex(16), src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)


def _open_to_empty(name: str, parent: int | None) -> int:
    """A descriptor of a directory, which can be listed and changed from now on; never that of a link's target."""
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{found}", 0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=found)
    finally:
        os.close(found)


def listing(work: str) -> list[list[Any]]:
    """Names and sizes of regular files, the first thousand; odd names and other file systems are left out."""
    device = os.lstat(work).st_dev
    found: list[list[Any]] = []
    # Not walk, which can be led through a link that takes a directory's place meanwhile.
    for directory, _, names, descriptor in os.fwalk(work):
        for name in names:
            try:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError:
                continue
            shown = os.path.relpath(os.path.join(directory, name), work)
            if stat.S_ISREG(status.st_mode) and status.st_dev == device and shown.isprintable():
                found.append([shown, status.st_size])
            if len(found) >= _MOST_LISTED:
                return found
    return found
