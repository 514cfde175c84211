"""Reading a page of the web: fetched from public addresses only, and given to the model as text."""

import ipaddress
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from arriero.prompts import ToolSpec

from ._address import IPAddress, read_allowed, why_not_public
from ._http import HttpError, HttpResponse, exchange, one_line, tls_context, with_agent
from ._page_text import ACCEPT, page_text
from .base import Effect, ModelRetry, Tool, ToolContext, ToolError, ToolResult

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_REDIRECTS = 5

ALLOW_VARIABLE: Final = "ARRIERO_FETCH_ALLOW"
"""Environment variable that may list addresses which are not public and may be fetched all the same."""

_PORTS: Final = {"http": 80, "https": 443}
_TRIED_ADDRESSES: Final = 3

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Finds the addresses of a host, as texts, in the order in which to try them."""

_SPEC: Final = ToolSpec(
    name="fetch_page",
    description="Read a page of the web: returns its text",
    parameters={
        "type": "object",
        "properties": {
            "url": {"type": "string", "description": "The address of the page, with https:// or http://"}
        },
        "required": ["url"],
    },
)


@dataclass(frozen=True, slots=True)
class _Target:
    """One hop: the address as asked for, and what the connection needs."""

    url: "httpx.URL"
    host: str
    port: int


class FetchPage(Tool):
    """Answers ``fetch_page(url)`` with the readable text of an HTML, text, JSON or PDF page.

    A host is resolved once per hop, all its addresses have to be public, and the connection goes to one of
    exactly these; so do the hops of up to 5 redirects. ``allow`` lists exceptions, as host names or networks,
    each with a port if need be (``wiki.corp``, ``10.0.0.0/8``, ``127.0.0.1:8080``); without one only ports 80
    and 443 are used. ``timeout`` is in seconds for everything, ``max_bytes`` bounds what is read,
    ``max_chars`` what the model sees. Proxy settings are not used: behind a proxy nobody could say which
    address was asked. ``resolve`` and ``tls`` replace name service and certificates in tests. Raises
    ValueError for an ``allow`` entry that is none.
    """

    spec = _SPEC
    effect: Effect = "read"

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        timeout: float = 20.0,
        max_bytes: int = 5_000_000,
        max_chars: int = 12_000,
        resolve: Resolver | None = None,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._allowed = read_allowed(allow)
        self._time_limit = timeout
        self._max_bytes = max_bytes
        self._max_chars = max_chars
        self._resolve = resolve or _resolve
        self._tls = tls
        # A second more than our own limit, so that its clearer message wins over the loop's.
        self.timeout = timeout + 1.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "FetchPage":
        """Make the tool with the exceptions that ARRIERO_FETCH_ALLOW lists, separated by commas.

        Raises ToolError for an entry that is none.
        """
        variables = os.environ if environ is None else environ
        entries = [entry for entry in variables.get(ALLOW_VARIABLE, "").split(",") if entry.strip()]
        try:
            return cls(allow=entries)
        except ValueError as error:
            raise ToolError(f"{ALLOW_VARIABLE}: {error}") from None

    def __repr__(self) -> str:
        return f"FetchPage(max_chars={self._max_chars})"

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Fetch ``arguments["url"]``; raises ToolError when there is nothing that can be read."""
        url = arguments.get("url")
        if not isinstance(url, str) or not url.strip():
            raise ModelRetry("fetch_page needs a url")
        try:
            with anyio.fail_after(self._time_limit):
                final, response = await self._fetch(url.strip())
                read = partial(page_text, response, address=final, max_chars=self._max_chars)
                return ToolResult(await anyio.to_thread.run_sync(read, abandon_on_cancel=True))
        except TimeoutError:
            raise ToolError(f"the page could not be read within {self._time_limit:g} s") from None

    async def _fetch(self, url: str) -> tuple[str, HttpResponse]:
        import httpx

        try:
            # A model can write half a surrogate pair in its JSON; no address can hold one.
            address = httpx.URL(url.encode("utf-8", "replace").decode())
        except httpx.InvalidURL:
            raise ModelRetry("that is not an address: it has to start with https:// or http://") from None
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._hop(_target(address))
            following = response.headers.get("location")
            if response.status not in (301, 302, 303, 307, 308) or following is None:
                return str(address), _require_page(response, address.host)
            try:
                address = address.join(following)
            except httpx.InvalidURL:
                raise ToolError(f"{address.host} redirects to a broken address") from None
        raise ToolError(f"the page redirects more than {MAX_REDIRECTS} times")

    async def _hop(self, target: _Target) -> HttpResponse:
        """Fetch one address from the first of its checked addresses that lets us connect."""
        addresses = await self._checked(target)
        failed: HttpError | None = None
        for address in addresses[:_TRIED_ADDRESSES]:
            try:
                return await self._get(target, address)
            except HttpError as error:
                if error.kind != "connection":
                    raise
                failed = error
        assert failed is not None
        raise failed

    async def _checked(self, target: _Target) -> list[IPAddress]:
        host, port = target.host, target.port
        named = any(entry.has_host(host, port) for entry in self._allowed)
        if not named and port != _PORTS[target.url.scheme] and not any(e.network for e in self._allowed):
            raise ToolError(f"port {port} is not allowed; only 80 and 443 are")
        try:
            found = [ipaddress.ip_address(text.partition("%")[0]) for text in await self._resolve(host, port)]
        except (OSError, UnicodeError, ValueError):
            found = []
        if not found:
            raise ToolError(f"there is no host named {one_line(host)}")
        for address in found:
            if named or any(entry.has_address(address, port) for entry in self._allowed):
                continue
            # One bad address among good ones is what an attack on name service looks like.
            if kind := why_not_public(address):
                raise ToolError(f"{one_line(host)} is not fetched: it has {kind} address ({address})")
            if port != _PORTS[target.url.scheme]:
                raise ToolError(f"port {port} is not allowed; only 80 and 443 are")
        return found

    async def _get(self, target: _Target, address: IPAddress) -> HttpResponse:
        import httpx

        # The connection goes to the address; Host and the certificate's name stay those of the page.
        headers = {"Host": target.url.netloc.decode("ascii"), "Accept": ACCEPT, "Accept-Encoding": "gzip"}
        where = target.url.copy_with(host=str(address), fragment=None)
        extensions = {"sni_hostname": target.url.raw_host.decode("ascii")}
        request = httpx.Request("GET", where, headers=with_agent(headers), extensions=extensions)
        transport = httpx.AsyncHTTPTransport(verify=self._tls or tls_context(), trust_env=False)
        try:
            return await exchange(transport, request, max_bytes=self._max_bytes, name=target.host)
        finally:
            with anyio.CancelScope(shield=True):
                await transport.aclose()


def _target(url: "httpx.URL") -> _Target:
    if url.scheme not in _PORTS:
        raise ToolError(f"only https and http pages can be read, not {one_line(url.scheme) or 'this'}")
    if url.userinfo:
        raise ToolError("an address with a user name or password in it is not fetched")
    if not url.host:
        raise ModelRetry("the address names no host")
    return _Target(url, url.host, url.port or _PORTS[url.scheme])


def _require_page(response: HttpResponse, host: str) -> HttpResponse:
    status = response.status
    if status in (404, 410):
        raise ToolError(f"there is no such page at {host}, HTTP {status}")
    if status in (401, 403, 451):
        raise ToolError(f"{host} does not let us read this page, HTTP {status}")
    if status == 429:
        raise ToolError(f"{host} limits the number of requests, HTTP 429; try again later")
    if status >= 500:
        raise ToolError(f"{host} has a problem of its own, HTTP {status}; try again later")
    if status != 200:
        raise ToolError(f"{host} did not send the page, HTTP {status}")
    return response


async def _resolve(host: str, port: int) -> list[str]:
    import socket

    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))
