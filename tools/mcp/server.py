"""An MCP server for as long as it is wanted: one connection after another, started again when it is called."""

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from arriero.tools.base import ToolError
from arriero.tools.threads import outcome

from .config import Server
from .connection import Connection, ConnectionEnded

if TYPE_CHECKING:
    from mcp.types import CallToolResult
    from mcp.types import Tool as ListedTool

CALL_TIMEOUT = 60.0
_LONGEST_PAUSE = 60.0
# The SDK gives a server up to 2 s to end by itself, 2 s after SIGTERM and 2 s after SIGKILL.
_CLOSE_TIMEOUT = 10.0
_MISSING_TO_RESTART = 2


class MCPServer:
    """Calls tools of one server, from any thread and event loop.

    A server that has ended is started again by the next call; after failures in a row a pause is kept between
    starts, of 1 second that doubles up to 60. Two calls in a row without an answer, because their time was over
    or they were cancelled, count as an end.
    """

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self._server = server
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._closed = False
        self._failures = 0
        self._missing = 0
        self._not_before = 0.0
        self._why = ""

    async def tools(self) -> "list[ListedTool]":
        """Its tools, after starting it if need be. Raises ToolError."""
        return await self._ready(self._current())

    async def call(self, tool: str, arguments: dict[str, Any]) -> "CallToolResult":
        """Call a tool. Raises ToolError for everything that can go wrong."""
        from mcp import MCPError

        connection = self._current()
        await self._ready(connection)
        if tool not in connection.offered:
            raise ToolError(f"the MCP server {self.name} no longer offers {tool}")
        timeout = self._server.timeout or CALL_TIMEOUT
        try:
            result = await connection.call(tool, arguments, timeout)
        except ConnectionEnded as error:
            self._failed(connection, str(error))
            raise
        except asyncio.CancelledError:
            # The caller's own limit of time looks like this.
            self._unanswered(connection)
            raise
        except TimeoutError:
            self._unanswered(connection)
            raise ToolError(f"the MCP server {self.name} did not answer within {timeout:g} seconds") from None
        except MCPError as error:
            self._answered()
            raise ToolError(
                f"the MCP server {self.name} refused: {str(error)[:2000]}{connection.refusal}"
            ) from None
        except Exception as error:
            connection.stop()
            self._failed(connection, f"{type(error).__name__}: {error}")
            raise ToolError(
                f"the MCP server {self.name} gave an answer that cannot be used: "
                f"{type(error).__name__}: {str(error)[:500]}"
            ) from None
        self._answered()
        return result

    async def aclose(self) -> None:
        """End the server; it is not started again."""
        with self._lock:
            connection = None if self._closed else self._connection
            self._closed = True
        if connection is None:
            return
        connection.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(outcome(connection.ended), _CLOSE_TIMEOUT)

    def _current(self) -> Connection:
        with self._lock:
            if self._closed:
                raise ToolError(f"the MCP server {self.name} has been closed")
            if self._connection is not None and self._connection.alive:
                return self._connection
            pause = self._not_before - time.monotonic()
            if pause > 0:
                raise ToolError(
                    f"the MCP server {self.name} is not running and can be tried again in {pause:.0f} s. {self._why}"
                )
            self._missing = 0
            self._connection = Connection(self.name, self._server)
            return self._connection

    async def _ready(self, connection: Connection) -> "list[ListedTool]":
        try:
            return await outcome(connection.ready)
        except ToolError as error:
            self._failed(connection, str(error))
            raise ToolError(str(error)) from None

    def _failed(self, connection: Connection, why: str) -> None:
        with self._lock:
            if connection is not self._connection:
                return
            self._connection = None
            self._failures += 1
            # One end is an accident, and the next call may try at once.
            pause = min(2.0 ** (self._failures - 2), _LONGEST_PAUSE) if self._failures > 1 else 0.0
            self._not_before = time.monotonic() + pause
            self._why = why

    def _answered(self) -> None:
        with self._lock:
            self._failures = self._missing = 0

    def _unanswered(self, connection: Connection) -> None:
        with self._lock:
            self._missing += 1
            hangs = self._missing >= _MISSING_TO_RESTART
        if hangs:
            connection.stop()
            self._failed(connection, "It did not answer.")
