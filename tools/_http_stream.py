"""Answers that are read while they come: events of a server, and files too large for memory.

The second half of ``_http``: the same transports and the same errors, without a bound on the whole.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import anyio

from ._http import MAX_BYTES, HttpError, HttpResponse, _host, _new_transport, one_line, with_agent

if TYPE_CHECKING:
    import httpx

    from ._http import Transport

CONNECT_LIMIT = 10.0
"""Seconds to reach a server."""

MAX_LINE = 16_000_000
"""Longest line of a stream, in bytes; llama-server repeats the whole prompt in its last event."""


@dataclass(frozen=True, slots=True)
class HttpStream:
    """An answer whose body has not been read; header names are in lower case."""

    host: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    _response: "httpx.Response" = field(repr=False)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises HttpError: ``truncated`` or ``timeout``."""
        import httpx

        try:
            async for chunk in cast(AsyncIterable[bytes], self._response.stream):
                yield chunk
        except httpx.TimeoutException:
            raise HttpError("timeout", f"{self.host} went silent in the middle of its answer") from None
        except httpx.TransportError:
            raise HttpError(
                "truncated", f"{self.host} closed the connection in the middle of its answer"
            ) from None

    async def lines(self) -> AsyncIterator[str]:
        """The body's lines without their ends; a last one that is not ended is left out: it may be half."""
        rest = b""
        async for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace").removesuffix("\r")
            if len(rest) > MAX_LINE:
                raise HttpError("too_large", f"{self.host} sent a line of more than {MAX_LINE / 1e6:g} MB")

    async def whole(self, max_bytes: int = MAX_BYTES) -> HttpResponse:
        """The answer with its body, cut after ``max_bytes``: for errors, which are short."""
        body = b""
        async for chunk in self.chunks():
            body += chunk
            if len(body) > max_bytes:
                break
        return HttpResponse(self.status, self.headers, body[:max_bytes])


@asynccontextmanager
async def open_stream(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    silence: float = 60.0,
    connect: float = CONNECT_LIMIT,
    transport: "Transport | None" = None,
) -> AsyncGenerator[HttpStream, None]:
    """Send one request and give its answer as soon as the headers are there; leaving closes the connection.

    ``silence`` bounds the wait for the headers and between two pieces of the body, in seconds, ``connect`` the
    wait for a connection. No redirect is followed and nothing is tried again. Proxies are read from the
    environment, unless a ``transport`` is given; that one is left open. Raises HttpError.
    """
    import httpx

    host = _host(url)
    used = transport or _new_transport(url)
    limits = {"connect": connect, "read": silence, "write": silence, "pool": connect}
    named = with_agent({"Accept-Encoding": "identity", **(headers or {})})
    try:
        try:
            request = httpx.Request(method, url, headers=named, content=body, extensions={"timeout": limits})
        except httpx.InvalidURL:
            raise HttpError("address", "the request is too long, or its address is broken") from None
        response = await _answered(used, request, host)
        try:
            names = {name.lower(): value for name, value in response.headers.items()}
            if names.get("content-encoding", "identity").strip().lower() != "identity":
                raise HttpError("encoding", f"{host} sent a content encoding that was not asked for")
            yield HttpStream(host, response.status_code, names, response)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
    finally:
        if transport is None:
            with anyio.CancelScope(shield=True):
                await used.aclose()


async def _answered(transport: "Transport", request: "httpx.Request", host: str) -> "httpx.Response":
    import httpx

    try:
        return await transport.handle_async_request(request)
    except httpx.ConnectTimeout:
        raise HttpError("connection", f"cannot reach {host} (no answer to the connection)") from None
    except httpx.TimeoutException:
        raise HttpError("timeout", f"{host} did not answer in time") from None
    except httpx.RemoteProtocolError:
        raise HttpError("truncated", f"{host} closed the connection before it answered") from None
    except httpx.TransportError as error:
        reason = one_line(str(error)) or type(error).__name__
        raise HttpError("connection", f"cannot reach {host} ({reason})") from None


async def sse_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The ``data`` of each server-sent event (WHATWG HTML, 9.2.6); comments and other fields are passed over.

    An event that the stream ends in the middle of is left out.
    """
    data: list[str] = []
    async for line in lines:
        if not line:
            if data:
                yield "\n".join(data)
            data.clear()
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
