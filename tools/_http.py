"""The one module that speaks HTTP: bounded requests with retries, so that the client library can be changed here.

httpx is imported on first use: importing it pulls in its own command line, and rich with it.
Requests go straight through an httpx *transport*: no redirects we did not check, no cookies, and no log line
with an address that may hold a key.
"""

import random
import time
import zlib
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from json import dumps, loads
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio

from .base import ToolError

if TYPE_CHECKING:
    import ssl

    import httpx

    Transport: TypeAlias = httpx.AsyncBaseTransport

MAX_BYTES = 2_000_000
"""Largest body read, in bytes after decompression."""

MAX_REDIRECTS = 3

HttpErrorKind = Literal[
    "address", "proxy", "connection", "timeout", "truncated", "too_large", "redirect", "encoding"
]


class HttpError(ToolError):
    """No usable answer came; ``kind`` says why, the message never holds the address's query or a header."""

    def __init__(self, kind: HttpErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case; empty when the server named none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """Read the body as JSON in UTF-8; ValueError when it is not."""
        try:
            return loads(self.body)
        except RecursionError:
            raise ValueError("nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Retry:
    """When a request is tried again: on 429, on 5xx and when no whole answer came.

    The n-th wait is drawn evenly from 0 to ``base * 2**n`` seconds and at most ``cap``; a ``Retry-After`` of
    the server replaces it. A wait that does not fit the time limit is not begun.
    """

    attempts: int = 3
    base: float = 0.5
    cap: float = 5.0
    draw: Callable[[], float] = random.random

    def wait(self, attempt: int, response: HttpResponse | None) -> float:
        """Seconds to wait after the given attempt (from 0)."""
        asked = None if response is None else retry_after(response)
        if asked is not None:
            return asked
        return float(min(self.cap, self.base * 2**attempt)) * self.draw()


async def get(
    url: str,
    *,
    params: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    time_limit: float = 10.0,
    max_bytes: int = MAX_BYTES,
    retry: Retry | None = None,
    transport: "Transport | None" = None,
) -> HttpResponse:
    """GET an address and read the whole answer, whatever its status.

    ``time_limit`` is in seconds and covers everything: retries, waits and the body. Redirects are followed
    only within the same scheme, host and port. Proxies are read from the environment, unless a ``transport``
    is given; that one is used as it is and left open. Raises :class:`HttpError` when no whole answer came.
    """
    # A model can write half a surrogate pair in its JSON; no address can hold one.
    sendable = tuple((name, value.encode("utf-8", "replace").decode()) for name, value in params)
    query = _Query(url, sendable, dict(headers or {}), max_bytes)
    return await _send(query, time_limit, retry, transport)


async def post_json(
    url: str,
    value: Any,
    *,
    headers: Mapping[str, str] | None = None,
    time_limit: float = 10.0,
    max_bytes: int = MAX_BYTES,
    retry: Retry | None = None,
    transport: "Transport | None" = None,
) -> HttpResponse:
    """POST a value as JSON and read the whole answer; everything else is as for :func:`get`.

    It is sent again as a GET would be, so it is for requests that only read. No redirect is followed.
    """
    body = dumps(value).encode()
    named = {"Content-Type": "application/json", **(headers or {})}
    return await _send(_Query(url, (), named, max_bytes, "POST", body), time_limit, retry, transport)


async def _send(
    query: "_Query", time_limit: float, retry: Retry | None, transport: "Transport | None"
) -> HttpResponse:
    deadline = time.monotonic() + time_limit
    owned = transport is None
    host = _host(query.url)
    used = transport or _new_transport(query.url)
    try:
        with anyio.fail_after(time_limit):
            return await _get_with_retries(query, retry or Retry(), used, deadline)
    except TimeoutError:
        raise HttpError("timeout", f"{host} did not answer within {time_limit:g} s") from None
    finally:
        if owned:
            with anyio.CancelScope(shield=True):
                await used.aclose()


@dataclass(frozen=True, slots=True, repr=False)
class _Query:
    url: str
    params: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    max_bytes: int
    method: str = "GET"
    body: bytes | None = None


async def _get_with_retries(
    query: _Query, retry: Retry, transport: "Transport", deadline: float
) -> HttpResponse:
    attempt = 0
    while True:
        outcome: HttpResponse | HttpError
        try:
            outcome = await _get_following(query, transport)
        except HttpError as error:
            outcome = error
        answer = outcome if isinstance(outcome, HttpResponse) else None
        wait = retry.wait(attempt, answer)
        attempt += 1
        last = attempt >= retry.attempts or wait >= deadline - time.monotonic()
        if isinstance(outcome, HttpError):
            if last or outcome.kind not in ("connection", "truncated"):
                raise outcome
        elif last or not _is_transient(outcome.status):
            return outcome
        await anyio.sleep(wait)


async def _get_following(query: _Query, transport: "Transport") -> HttpResponse:
    import httpx

    try:
        address = httpx.URL(query.url, params=query.params) if query.params else httpx.URL(query.url)
    except httpx.InvalidURL:
        raise HttpError("address", "the request is too long, or its address is broken") from None
    for _ in range(MAX_REDIRECTS + 1):
        request = httpx.Request(query.method, address, headers=with_agent(query.headers), content=query.body)
        response = await exchange(transport, request, max_bytes=query.max_bytes)
        target = response.headers.get("location")
        if not 300 <= response.status < 400 or target is None:
            return response
        if query.method != "GET":
            raise HttpError("redirect", f"{address.host} redirects a {query.method}, which is not followed")
        try:
            following = address.join(target)
        except httpx.InvalidURL:
            raise HttpError("redirect", f"{address.host} redirects to a broken address") from None
        if _origin(following) != _origin(address):
            raise HttpError("redirect", f"{address.host} redirects to another site, which is not followed")
        address = following
    raise HttpError("redirect", f"{address.host} redirects more than {MAX_REDIRECTS} times")


async def exchange(
    transport: "Transport", request: "httpx.Request", *, max_bytes: int = MAX_BYTES, name: str = ""
) -> HttpResponse:
    """Send one request as it is and read the whole answer: no redirect, no retry, no time limit.

    ``name`` is what errors call the host, where it is not the one in the address. Raises :class:`HttpError`.
    """
    import httpx

    host = name or request.url.host
    try:
        response = await transport.handle_async_request(request)
        try:
            names = {name.lower(): value for name, value in response.headers.items()}
            # Not aiter_raw(): it refuses the answers of httpx's own MockTransport.
            chunks = cast(AsyncIterable[bytes], response.stream)
            body = await _read(chunks, names.get("content-encoding", ""), max_bytes, host)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
    except httpx.RemoteProtocolError:
        raise HttpError("truncated", f"{host} closed the connection before its answer was whole") from None
    except httpx.TransportError as error:
        raise HttpError(
            "connection", f"cannot reach {host} ({one_line(str(error)) or type(error).__name__})"
        ) from None
    return HttpResponse(response.status_code, names, body)


async def _read(chunks: AsyncIterable[bytes], encoding: str, max_bytes: int, host: str) -> bytes:
    inflate = _inflater(encoding, host)
    body = bytearray()
    async for chunk in chunks:
        if inflate is None:
            body += chunk
        else:
            try:
                body += inflate.decompress(chunk, max_bytes + 1 - len(body))
            except zlib.error:
                raise HttpError("encoding", f"{host} sent a body that cannot be decompressed") from None
        if len(body) > max_bytes:
            raise HttpError("too_large", f"{host} sent more than {max_bytes / 1e6:g} MB")
    if inflate is not None and body and not inflate.eof:
        raise HttpError("truncated", f"{host} sent half an answer: its compressed body ends early")
    return bytes(body)


def _inflater(encoding: str, host: str) -> "zlib._Decompress | None":
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        case _:
            raise HttpError("encoding", f"{host} sent a content encoding that was not asked for")


def retry_after(response: HttpResponse, *, now: float | None = None) -> float | None:
    """Seconds that the server asks to wait: ``Retry-After`` as seconds or as an HTTP date (RFC 9110, 10.2.3).

    Without that header, Brave's ``X-RateLimit-Remaining`` and ``X-RateLimit-Reset`` (lists, one item per
    window) give the wait until the last exhausted window resets. None when nothing usable is said.
    """
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    if value:
        try:
            moment = parsedate_to_datetime(value).timestamp()
        except (ValueError, OverflowError):
            return None
        return max(0.0, moment - (time.time() if now is None else now))
    if response.status != 429:
        return None
    remaining = _numbers(response.headers.get("x-ratelimit-remaining", ""))
    reset = _numbers(response.headers.get("x-ratelimit-reset", ""))
    return max((wait for left, wait in zip(remaining, reset, strict=False) if left == 0), default=None)


def require_ok(response: HttpResponse, *, service: str, key_variable: str, detail: str = "") -> None:
    """Raise a ToolError that says what happened and who can mend it, unless the status is 200."""
    status = response.status
    if status == 200:
        return
    said = f"HTTP {status} ({detail})" if detail else f"HTTP {status}"
    if status in (401, 403):
        raise ToolError(f"{service} refused the key, {said}; the user has to check {key_variable}")
    if status == 429:
        wait = retry_after(response)
        when = "later" if wait is None else f"in {wait:.0f} s"
        raise ToolError(f"{service} limits the number of requests, {said}; try again {when}")
    if status >= 500:
        raise ToolError(f"{service} has a problem of its own, {said}; try again later")
    raise ToolError(f"{service} did not accept the request, {said}")


def one_line(value: object, limit: int = 200) -> str:
    """Somebody else's text, fit for a message: on one line, printable and short; empty for non-texts."""
    if not isinstance(value, str):
        return ""
    text = "".join(char if char.isprintable() else " " for char in value[: 4 * limit])
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def printable_key(name: str, key: str) -> str:
    """Strip a key and check that it can stand in a request; ToolError, without the key, when it cannot."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ToolError(f"{name} is empty or holds characters that a key cannot have; copy it again")
    return key


def redact(text: str, secret: str) -> str:
    """Replace every occurrence of a secret in a text that will be shown."""
    return text.replace(secret, "***") if secret else text


def _numbers(text: str) -> list[float]:
    parts = [part.strip() for part in text.split(",")]
    return [float(part) for part in parts if part.isascii() and part.isdigit()]


def _is_transient(status: int) -> bool:
    return status == 429 or (500 <= status < 600 and status not in (501, 505))


def _origin(address: "httpx.URL") -> tuple[str, str, int | None]:
    default = {"https": 443, "http": 80}
    return address.scheme, address.host, address.port or default.get(address.scheme)


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise HttpError("address", "the address must start with https:// or http:// and name a host")
    return host


def _new_transport(url: str) -> "Transport":
    import httpx

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpError("address", "the address must start with https:// or http:// and name a host")
    proxies = getproxies()
    proxy = None
    if not proxy_bypass(parts.hostname):
        proxy = proxies.get(parts.scheme) or proxies.get("all")
    try:
        return httpx.AsyncHTTPTransport(verify=tls_context(), proxy=proxy)
    except (ImportError, ValueError):
        raise HttpError(
            "connection", f"the {parts.scheme}_proxy or all_proxy setting cannot be used"
        ) from None


@cache
def tls_context() -> "ssl.SSLContext":
    """The TLS settings of all requests: certificates are checked against certifi's list, or SSL_CERT_FILE's."""
    import httpx

    return httpx.create_ssl_context()


def with_agent(headers: Mapping[str, str]) -> dict[str, str]:
    """Put our name before the headers of a request; a User-Agent among them wins."""
    return {"User-Agent": _user_agent(), **headers}


@cache
def _user_agent() -> str:
    try:
        return f"arriero/{version('arriero')}"
    except PackageNotFoundError:
        return "arriero"
