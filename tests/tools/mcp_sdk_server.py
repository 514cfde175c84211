"""An MCP server written with the SDK: over standard input and output, or HTTP on the port that is given."""

import sys

from mcp.server.mcpserver import Image, MCPServer

server = MCPServer("shop", log_level="ERROR")


@server.tool()
def price(item: str, n: int = 1) -> str:
    """Price of some of an item."""
    return f"{n} {item}: {n * 2.5}"


@server.tool()
def stock() -> dict[str, int]:
    """What there is."""
    return {"tea": 3}


@server.tool()
def picture() -> Image:
    """A picture."""
    return Image(data=b"\x89PNG\r\n\x1a\n123", format="png")


@server.tool()
def broken() -> str:
    """Always fails."""
    raise ValueError("no connection to the shop")


@server.tool()
def flood() -> str:
    """Five million characters."""
    return "x" * 5_000_000


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
