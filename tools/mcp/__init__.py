"""Tools of MCP servers: over stdio and streamable HTTP, from a configuration file of the customary shape."""

from .config import Approval, HttpServer, MCPConfigError, StdioServer, read_config
from .tool import MCPTool
from .toolset import MCPToolset, load_mcp

__all__ = [
    "Approval",
    "HttpServer",
    "MCPConfigError",
    "MCPTool",
    "MCPToolset",
    "StdioServer",
    "load_mcp",
    "read_config",
]
