"""Reading on in outputs that were too long for the model."""

import threading
from collections import OrderedDict
from typing import Any, Final

from arriero.prompts import ToolSpec
from arriero.tools import Tool, ToolContext, ToolError, ToolResult

_MOST_CHARACTERS: Final = 4_000  # of one answer


class OutputReader(Tool):
    """The tool ``read_output``: more of an output of which the model was shown only head and tail.

    Give one to an agent's ``tools``; outputs are then kept for it in memory, at most ``max_bytes`` of them, the
    oldest go first. Each conversation sees its own.
    """

    effect = "read"

    def __init__(self, *, max_bytes: int = 64 * 2**20) -> None:
        self.spec = ToolSpec(
            name="read_output",
            description="Read more of a tool's output that was too long to show whole.",
            parameters={
                "type": "object",
                "properties": {
                    "output": {"type": "string", "description": "which output, as named where it was cut"},
                    "start": {"type": "integer", "minimum": 0, "description": "the first character to read"},
                },
                "required": ["output"],
            },
        )
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, conversation_id: str, name: str, text: str) -> None:
        """Keep an output under a name."""
        with self._lock:
            self._kept[conversation_id, name] = text
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self.max_bytes:
                self._kept.popitem(last=False)

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        name, start = arguments["output"], arguments.get("start", 0)
        with self._lock:
            text = self._kept.get((context.conversation_id, name))
        if text is None:
            raise ToolError(f"there is no output {name!r} to read; it may have been too long ago")
        piece = text[start : start + _MOST_CHARACTERS]
        end = start + len(piece)
        more = f"\n[{len(text) - end} characters follow: start={end}]" if end < len(text) else "\n[the end]"
        return ToolResult(piece + more)
