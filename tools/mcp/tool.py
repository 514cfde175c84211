"""A tool that an MCP server offers."""

from typing import TYPE_CHECKING, Any

from arriero.prompts import ToolSpec
from arriero.tools.base import Effect, Tool, ToolContext, ToolResult

from .config import Approval
from .content import as_result
from .schema import usable_schema
from .server import MCPServer

if TYPE_CHECKING:
    from mcp.types import Tool as ListedTool

_DESCRIPTION = 4000


class MCPTool(Tool):
    """One tool of a server, under the name that the model uses; ``original`` is the server's.

    ``effect`` follows the server's hints (readOnlyHint, idempotentHint), which are its own claims.
    ``timeout`` is the configuration's, and so is ``approval``: ``writes`` asks for calls of every tool whose
    effect is not ``read``. What the server says and answers is untrusted.
    """

    def __init__(
        self,
        server: MCPServer,
        listed: "ListedTool",
        name: str,
        timeout: float | None,
        approval: Approval = "never",
    ) -> None:
        self.server = server
        self.original = listed.name
        self.timeout = timeout
        self.effect = _effect(listed)
        self.approval = approval
        self.spec = ToolSpec(
            name=name,
            description=(listed.description or listed.title or "")[:_DESCRIPTION],
            parameters=usable_schema(listed.input_schema),
        )

    def __repr__(self) -> str:
        return f"<tool {self.name} of the MCP server {self.server.name}>"

    def needs_approval(self, arguments: dict[str, Any]) -> bool:
        """What ``approval`` says of this tool."""
        return self.approval == "always" or (self.approval == "writes" and self.effect != "read")

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Call the server's tool, starting the server again if it has ended. Raises ToolError."""
        return as_result(await self.server.call(self.original, arguments), self.name)

    async def aclose(self) -> None:
        """End the server, and with it all of its tools."""
        await self.server.aclose()


def _effect(listed: "ListedTool") -> Effect:
    hints = listed.annotations
    if hints is not None and hints.read_only_hint:
        return "read"
    return "idempotent" if hints is not None and hints.idempotent_hint else "once"
