"""Fetching one large file: with resuming across processes, a checksum, and nothing half-finished under its name."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urljoin, urlsplit

import anyio

from arriero.tools._http import HttpError, Retry
from arriero.tools._http_stream import HttpStream, open_stream

from .errors import StoreError

MARGIN = 64 << 20  # bytes left free on the disk
MAX_REDIRECTS = 6
_SHA256 = re.compile(r'"?([0-9a-f]{64})"?')
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")

Progress = Callable[[int, int], None]
"""Told the bytes that are there and the bytes that there will be (0: not known)."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file is, and what is known of it before: 0 and "" for nothing. ``headers`` go to its own host only."""

    url: str
    size: int = 0
    sha256: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: the size in bytes, the SHA-256 of the bytes that are on the disk, the server's ETag."""

    size: int
    sha256: str
    etag: str = ""
    checked: bool = False
    """Whether the sum was compared with one that somebody else told."""


@dataclass(slots=True)
class _Part:
    """A file that is on its way, and what must hold for it to be continued."""

    path: Path
    url: str
    etag: str = ""
    total: int = 0

    @property
    def notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @classmethod
    def beside(cls, target: Path, url: str) -> "_Part":
        part = cls(target.with_name(target.name + ".part"), url)
        try:
            noted = json.loads(part.notes.read_text("utf-8"))
            if noted["url"] == url and isinstance(noted["etag"], str):
                part.etag, part.total = noted["etag"], int(noted["total"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return part

    def note(self) -> None:
        values = {"url": self.url, "etag": self.etag, "total": self.total}
        self.notes.write_text(json.dumps(values), "utf-8")

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


class _Again(Exception):
    """The request must be made anew."""


async def download(
    source: Source,
    target: Path,
    *,
    on_progress: Progress = lambda done, total: None,
    silence: float = 60.0,
    retry: Retry | None = None,
) -> Fetched:
    """Fetch a file to ``target``, which appears only when it is whole and its sum is right.

    What has arrived is kept beside it as ``.part``: another call, also of another process and another day, goes on
    there if the server says that the file is the same (RFC 9110: Range, If-Range), and else begins anew. A
    connection that breaks is taken up again ``retry.attempts`` times without progress; ``silence`` is in seconds.
    Raises StoreError: no space, a sum or size that does not match, a refusal, no connection.
    """
    retry = retry or Retry(attempts=5)
    part = _Part.beside(target, source.url)
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_space(part, source.size - part.size)
    attempt, linked = 0, ""
    while True:
        before = part.size
        try:
            linked = await _fetch(source, part, on_progress, silence)
            break
        except _Again:
            attempt += 1
            if attempt >= retry.attempts:
                raise StoreError(
                    f"{_host(source.url)} gives a different piece of the file than asked for"
                ) from None
        except HttpError as error:
            attempt = 1 if part.size > before else attempt + 1
            if attempt >= retry.attempts or error.kind not in ("connection", "truncated", "timeout"):
                raise StoreError(f"{error}; what has arrived is kept: call again to go on") from None
            await anyio.sleep(retry.wait(attempt - 1, None))
    return await anyio.to_thread.run_sync(_finish, source, part, target, linked)


async def _fetch(source: Source, part: _Part, on_progress: Progress, silence: float) -> str:
    """Bring the part as far as it goes; the SHA-256 that the hub told on the way, if it did."""
    have = part.size
    # Without the server's mark there is no telling whether the file is still the same; its sum will tell.
    resumes = have > 0 and bool(part.etag or source.sha256)
    headers = {"Range": f"bytes={have}-"} if resumes else {}
    if resumes and part.etag:
        headers["If-Range"] = part.etag
    async with _redirected(source, headers, silence) as (stream, linked):
        match stream.status:
            case 206 if resumes:
                start, total = _content_range(stream)
                if start != have or (part.total and total != part.total):
                    part.drop()
                    raise _Again
            case 200:
                have, total = 0, _number(stream.headers.get("content-length"))
            case 416:
                if have and have == (part.total or source.size):
                    return linked
                part.drop()
                raise _Again
            case _:
                await _refuse(source, stream)
        part.etag, part.total = _strong(stream.headers.get("etag", "")), total
        _check_size(source, total)
        _check_space(part, total - have)
        part.note()
        on_progress(have, total)
        with part.path.open("ab" if have else "wb") as file:
            async for chunk in stream.chunks():
                file.write(chunk)
                have += len(chunk)
                on_progress(have, total)
    if total and have < total:
        raise HttpError("truncated", f"{_host(source.url)} closed the connection in the middle of the file")
    return linked


@asynccontextmanager
async def _redirected(
    source: Source, headers: Mapping[str, str], silence: float
) -> AsyncIterator[tuple[HttpStream, str]]:
    """The answer at the end of the redirects; the hub's own headers, with a key, go no further than the hub."""
    url, linked = source.url, ""
    for _ in range(MAX_REDIRECTS):
        own = dict(source.headers) if _origin(url) == _origin(source.url) else {}
        async with open_stream("GET", url, headers={**own, **headers}, silence=silence) as stream:
            if found := _SHA256.fullmatch(stream.headers.get("x-linked-etag", "")):
                linked = found[1]
            target = stream.headers.get("location")
            if not 300 <= stream.status < 400 or not target:
                yield stream, linked
                return
        following = urljoin(url, target)
        if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
            raise StoreError(
                f"{_host(url)} redirects from https to {urlsplit(following).scheme}: not followed"
            )
        url = following
    raise StoreError(f"{_host(source.url)} redirects more than {MAX_REDIRECTS} times")


async def _refuse(source: Source, stream: HttpStream) -> NoReturn:
    host = _host(source.url)
    match stream.status:
        case 401 | 403:
            raise StoreError(
                f"{host} refuses the file (HTTP {stream.status}): accept the model's licence on its page, and put a "
                "token of your account into HF_TOKEN"
            )
        case 404:
            raise StoreError(f"{host} has no such file: {source.url}")
        case 429 | 500 | 502 | 503 | 504:
            raise HttpError("connection", f"{host} is not ready (HTTP {stream.status})")
        case status:
            raise StoreError(f"{host} does not give the file (HTTP {status})")


def _check_size(source: Source, total: int) -> None:
    if source.size and total and total != source.size:
        raise StoreError(
            f"{_host(source.url)} offers {total} bytes where {source.size} are listed: the file has changed"
        )


def _check_space(part: _Part, missing: int) -> None:
    free = shutil.disk_usage(part.path.parent).free
    if missing + MARGIN > free:
        raise StoreError(
            f"the disk of {part.path.parent} has {free / 1e9:.1f} GB free and {missing / 1e9:.1f} GB are missing; "
            "make room, or keep models elsewhere with ARRIERO_HOME"
        )


def _finish(source: Source, part: _Part, target: Path, linked: str) -> Fetched:
    """Compare size and sum, then give the file its name."""
    size = part.size
    expected = source.size or part.total
    if expected and size != expected:
        part.drop()
        raise StoreError(f"{target.name} has {size} bytes instead of {expected} and was removed; call again")
    digest = file_sha256(part.path)
    wanted = source.sha256 or linked
    if wanted and digest != wanted:
        part.drop()
        raise StoreError(
            f"{target.name} does not match its checksum and was removed (SHA-256 {digest}, expected {wanted}); "
            "call again, and if it happens again, do not trust that source"
        )
    with part.path.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part.path, target)
    part.notes.unlink(missing_ok=True)
    return Fetched(size, digest, part.etag, checked=bool(wanted))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_json(fetched: Fetched) -> dict[str, object]:
    """The record of a file as it is kept."""
    return asdict(fetched)


def _content_range(stream: HttpStream) -> tuple[int, int]:
    found = _RANGE.fullmatch(stream.headers.get("content-range", ""))
    return (int(found[1]), int(found[2])) if found else (-1, 0)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _strong(etag: str) -> str:
    # A weak mark says nothing about bytes (RFC 9110, 13.1.5).
    return etag if etag.startswith('"') else ""


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _host(url: str) -> str:
    return urlsplit(url).netloc
