"""All tools of all servers of a configuration."""

import asyncio
import importlib.util
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arriero.tools.base import Tool, ToolError

from .config import Approval, MCPConfigError, read_config
from .schema import wire_names
from .server import MCPServer
from .tool import MCPTool

if TYPE_CHECKING:
    from mcp.types import Tool as ListedTool

INSTALL = "MCP servers need the mcp package: pip install 'arriero[mcp]'"


class MCPToolset:
    """The tools that servers offered when they were started, and what kept other servers from it.

    ``failures`` maps the names of servers that could not be used to the reason. Leaving the ``async with``
    block, or ``aclose``, ends the servers.
    """

    def __init__(
        self, tools: tuple[Tool, ...], failures: Mapping[str, str], servers: tuple[MCPServer, ...]
    ) -> None:
        self.tools = tools
        self.failures = dict(failures)
        self._servers = servers

    async def aclose(self) -> None:
        """End all servers; it is safe to call twice."""
        await asyncio.gather(*(server.aclose() for server in self._servers))

    async def __aenter__(self) -> "MCPToolset":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


async def load_mcp(
    source: str | Path | Mapping[str, Any], *, taken: Collection[str] = (), approval: Approval = "never"
) -> MCPToolset:
    """Start or reach the servers of a configuration file, all at once, and list their tools.

    Names in ``taken`` are not given to tools. ``approval`` is for servers whose configuration names none. A
    server that fails keeps nobody else from working: see ``failures``. Raises MCPConfigError for a configuration
    that cannot be used, or when the extra ``mcp`` is not installed.
    """
    configured = read_config(source)
    if importlib.util.find_spec("mcp") is None:
        raise MCPConfigError(INSTALL)
    _keep_quiet()
    servers = {name: MCPServer(name, server) for name, server in configured.items()}
    listed = await asyncio.gather(*(server.tools() for server in servers.values()), return_exceptions=True)
    failures: dict[str, str] = {}
    offered: dict[tuple[str, str], ListedTool] = {}
    for name, answer in zip(servers, listed, strict=True):
        if isinstance(answer, ToolError):
            failures[name] = str(answer)
        elif isinstance(answer, BaseException):
            await asyncio.gather(*(server.aclose() for server in servers.values()))
            raise answer
        else:
            offered |= {(name, tool.name): tool for tool in answer}
    names = wire_names(offered, taken)
    tools = tuple(
        MCPTool(
            servers[server],
            tool,
            names[server, original],
            configured[server].timeout,
            configured[server].approval_of(original, approval),
        )
        for (server, original), tool in offered.items()
    )
    return MCPToolset(tools, failures, tuple(servers.values()))


def _keep_quiet() -> None:
    """Without a handler of the program's own, the SDK's warnings about servers would go to standard error."""
    for name in ("mcp", "client"):
        logging.getLogger(name).addHandler(logging.NullHandler())
