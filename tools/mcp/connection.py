"""One connection to an MCP server, in a thread and event loop of its own.

The SDK's task groups must be entered and left in one task; here that task lives as long as the connection, and
callers in any event loop hand their calls over to it.
"""

import asyncio
import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from arriero.tools.base import ToolError

from .config import HttpServer, Server, StdioServer

if TYPE_CHECKING:
    import httpx2
    from mcp.types import CallToolResult
    from mcp.types import Tool as ListedTool

INHERITED = ("PATH", "HOME", "LANG")
MAX_MESSAGE = 16 * 1024 * 1024
MAX_TOOLS = 1000
_MAX_PAGES = 100
_LISTING = 30.0
_ADVICE = {
    401: ": check the headers in its configuration",
    403: ": check the headers in its configuration",
    404: ": check the url in its configuration",
}
_TRY_BY_HAND = "run the command of its configuration by hand to see what it lacks"
_SPEAKS_MCP = (
    "its command has to speak MCP on standard output; one that is only slow needs a larger start_timeout"
)
_CHECK_URL = "check that it runs, and the url in its configuration"
_BETWEEN_LISTINGS = 0.2
_GUARD = Path(__file__).with_name("guard.py")


class ConnectionEnded(ToolError):
    """The connection to the server has ended; another may be made."""


class Connection:
    """A server that has been started or reached.

    ``ready`` holds its tools, or the error that kept it from being ready within ``start_timeout`` seconds;
    ``offered`` their names as the server tells of changes; ``refusal`` the status of the latest answer over HTTP
    where that is an error.
    """

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.ready: Future[list[ListedTool]] = Future()
        self.offered: frozenset[str] = frozenset()
        self.refusal = ""
        self.ended: Future[None] = Future()
        self.started = time.monotonic()
        self._server = server
        self._said = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._changed = asyncio.Event()
        self._starting: anyio.CancelScope | None = None
        self._unwanted = False
        self._client: Any = None
        threading.Thread(target=self._work, name=f"mcp {name}", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether calls can be made, or will be when it is ready."""
        return not self.ended.done() and not (self._stop and self._stop.is_set())

    async def call(self, tool: str, arguments: dict[str, Any], timeout: float) -> "CallToolResult":
        """Call a tool from any event loop. Raises ConnectionEnded, TimeoutError, or the server's error."""
        assert self._loop is not None
        work = self._call(tool, arguments, timeout)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise self._ended_error() from None
        async with asyncio.timeout(timeout):
            try:
                return await asyncio.wrap_future(future)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                raise self._ended_error() from None

    async def _call(self, tool: str, arguments: dict[str, Any], timeout: float) -> "CallToolResult":
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED, INVALID_REQUEST

        # Over HTTP, a server that was started again knows nothing of the session and says so like this.
        over_http = isinstance(self._server, HttpServer)
        try:
            async with asyncio.timeout(timeout):
                result: CallToolResult = await self._client.call_tool(tool, arguments)
                return result
        except MCPError as error:
            if error.code != CONNECTION_CLOSED and not (over_http and error.code == INVALID_REQUEST):
                raise
            self._request_stop()
            if not over_http:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._gone.wait(), 1.0)
            raise self._ended_error(str(error) if over_http else "") from None

    def stop(self) -> None:
        """Begin to end the connection; ``ended`` tells when it has."""
        self._unwanted = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._request_stop)

    def _request_stop(self) -> None:
        assert self._stop is not None
        self._stop.set()
        if self._starting is not None and not self.ready.done():
            self._starting.cancel()

    def _ended_error(self, why: str = "") -> ConnectionEnded:
        why = f": {why[:500]}" if why else self._last_words()
        return ConnectionEnded(f"the MCP server {self.name} has ended{why}")

    def _last_words(self) -> str:
        said = self._said.decode("utf-8", "replace").strip()
        return f", having printed: {said[-500:]}" if said else ""

    def _work(self) -> None:
        try:
            # Importing the SDK takes a second or more and is no part of the server's time.
            import mcp.client.streamable_http  # noqa: F401

            asyncio.run(self._live())
        except BaseException as error:
            self._fail(error)
        finally:
            self._fail(None)
            self.ended.set_result(None)

    def _fail(self, error: BaseException | None) -> None:
        if not self.ready.done():
            why = f"the MCP server {self.name} {self._what_failed(error)}{self._last_words()}"
            self.ready.set_exception(ToolError(why))

    def _what_failed(self, error: BaseException | None) -> str:
        """What kept the server from being ready, and what may help; None is its end."""
        over_http = isinstance(self._server, HttpServer)
        if isinstance(error, TimeoutError):
            late = f"was not ready within {self._server.start_timeout:g} seconds"
            return late + (self.refusal or f" ({_CHECK_URL if over_http else _SPEAKS_MCP})")
        if error is None:
            return f"ended before it was ready ({_CHECK_URL if over_http else _TRY_BY_HAND})"
        advice = self.refusal or (f" ({_CHECK_URL})" if over_http else "")
        return f"could not be used: {_reason(error)}{advice}"

    async def _live(self) -> None:
        self._stop = asyncio.Event()
        self._gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if self._unwanted:
            return
        with anyio.fail_after(self._server.start_timeout) as scope:
            self._starting = scope
            async with self._connected() as client:
                self._client = client
                tools = await _list_tools(client)
                scope.deadline = math.inf
                self.offered = frozenset(tool.name for tool in tools)
                self.ready.set_result(tools)
                await self._follow(self._stop)

    async def _follow(self, stop: asyncio.Event) -> None:
        """Keep ``offered`` true until the connection is to end."""
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            changed = asyncio.create_task(self._changed.wait())
            await asyncio.wait([stopped, changed], return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if stop.is_set():
                return
            self._changed.clear()
            listing = asyncio.create_task(_list_tools(self._client))
            await asyncio.wait([stopped, listing], return_when=asyncio.FIRST_COMPLETED, timeout=_LISTING)
            if listing.done() and listing.exception() is None:
                self.offered = frozenset(tool.name for tool in listing.result())
            listing.cancel()
            # A server that tells of nothing but changes is not asked more often than this.
            await asyncio.wait([stopped], timeout=_BETWEEN_LISTINGS)

    async def _hear(self, message: Any) -> None:
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self._changed.set()

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Any, None]:
        from mcp import Client

        async with contextlib.AsyncExitStack() as stack:
            if isinstance(self._server, HttpServer):
                transport = await stack.enter_async_context(_http(self._server, self._note))
            else:
                transport = await stack.enter_async_context(self._stdio(self._server))
            client = Client(
                transport,
                cache=None,
                read_timeout_seconds=self._server.start_timeout + 3600,
                message_handler=self._hear,
            )
            yield await stack.enter_async_context(client)

    @asynccontextmanager
    async def _stdio(self, server: StdioServer) -> AsyncGenerator[AbstractAsyncContextManager[Any], None]:
        """The SDK's transport over the guard; the guard's standard error carries last words and tells its end."""
        from mcp import StdioServerParameters, stdio_client

        environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | server.env
        guarded = [str(_GUARD), str(os.getpid()), ",".join(environment), server.command, *server.args]
        parameters = StdioServerParameters(
            command=sys.executable, args=["-I", "-S", *guarded], env=environment, cwd=server.cwd
        )
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        loop = asyncio.get_running_loop()
        with os.fdopen(writing, "w") as errors:

            @asynccontextmanager
            async def transport() -> AsyncIterator[Any]:
                async with stdio_client(parameters, errlog=errors) as streams:
                    errors.close()
                    yield streams

            loop.add_reader(reading, self._listen, reading)
            try:
                yield transport()
            finally:
                loop.remove_reader(reading)
                self._listen(reading)
                os.close(reading)

    def _note(self, status: int) -> None:
        """Keep how a request was refused, which the SDK's errors do not tell."""
        self.refusal = f" (HTTP {status}{_ADVICE.get(status, '')})" if status >= 400 else ""

    def _listen(self, reading: int) -> None:
        """Take what the guard says; at its end the server is gone."""
        try:
            said = os.read(reading, 65536)
        except BlockingIOError:
            return
        self._said += said[: 2 * 4096]
        if not said:
            assert self._loop is not None
            self._loop.remove_reader(reading)
            self._gone.set()
            self._request_stop()


@asynccontextmanager
async def _http(
    server: HttpServer, note: Callable[[int], None]
) -> AsyncGenerator[AbstractAsyncContextManager[Any], None]:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    timeout = httpx2.Timeout(30.0, read=server.timeout or 300.0)

    async def on_response(response: "httpx2.Response") -> None:
        if response.request.method == "POST":  # servers may well refuse the others
            note(response.status_code)
        await _bound(response)

    hooks = {"response": [on_response]}
    async with httpx2.AsyncClient(headers=server.headers, timeout=timeout, event_hooks=hooks) as http:
        yield streamable_http_client(server.url, http_client=http, max_sse_event_size=MAX_MESSAGE)


async def _bound(response: "httpx2.Response") -> None:
    """Let no answer that is read as a whole be larger than a message may be."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        response.stream = _bounded(response.stream)


def _bounded(stream: Any) -> Any:
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for piece in stream:
                size += len(piece)
                if size > MAX_MESSAGE:
                    raise httpx2.ReadError(f"a message was larger than {MAX_MESSAGE // 2**20} MiB")
                yield piece

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


async def _list_tools(client: Any) -> "list[ListedTool]":
    found: list[ListedTool] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None or len(found) >= MAX_TOOLS:
            break
    return found[:MAX_TOOLS]


def _reason(error: BaseException) -> str:
    """The first line of the first error in what task groups wrap."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    line = str(error).strip().partition("\n")[0][:300]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
