"""The code interpreter as a tool: what Llama calls ``code_interpreter``."""

import asyncio
from collections import OrderedDict
from typing import Any

from arriero.prompts import CODE_INTERPRETER, ToolSpec
from arriero.tools import Tool, ToolContext, ToolError, ToolResult

from .errors import SandboxBroken, SandboxUnavailable
from .held import PRELOAD, Kind, Warm
from .interpreter import Named
from .levels import Wanted
from .limits import SandboxLimits
from .result import for_model
from .room import Room
from .sandbox import Sandbox

_DESCRIPTION = (
    "Run Python code in a sandboxed Jupyter kernel without network. Variables persist from call to call; "
    "what is printed and the value of the last expression come back."
)
_REMEMBERED = 1000


class PythonTool(Tool):
    """Runs the model's Python code in a sandbox, one kernel per conversation.

    At most ``kernels`` of them live at once, at about 100 MB each: a conversation that needs one more ends the one
    that was not used for longest, whose conversation is told so at its next call; where all are running code, it
    waits. One more stands ready for the next conversation or restart, unless ``spare`` is False. ``limits``,
    ``level``, ``preload`` and ``python`` are those of Sandbox. Where no level of the sandbox can be had, ``run``
    raises SandboxUnavailable; ``Sandbox.probe()`` says so beforehand. To be used in one event loop.
    """

    spec = ToolSpec(
        name=CODE_INTERPRETER,
        description=_DESCRIPTION,
        parameters={
            "type": "object",
            "properties": {"code": {"type": "string", "description": "Python source to run"}},
            "required": ["code"],
        },
    )
    effect = "once"

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        level: Wanted = "auto",
        *,
        spare: bool = True,
        preload: tuple[str, ...] = PRELOAD,
        python: Named = None,
        kernels: int = 4,
    ) -> None:
        self.limits = limits or SandboxLimits()
        self._warm = Warm(Kind(self.limits, level, python, preload), keep=spare)
        self._room = Room(kernels)
        self._sandboxes: OrderedDict[str, Sandbox] = OrderedDict()
        self._closed = False
        self.contained = level != "unsafe-none"
        """What its code does ends with its kernel: calls of a run that begins anew may be made again."""

    async def prestart(self) -> None:
        """Begin to start a kernel in the background, so that the first call does not wait for it."""
        if not self._closed:
            self._warm.prestart()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Run ``arguments["code"]``; raises ToolError for what cannot be run and SandboxUnavailable."""
        code = arguments.get("code")
        if not isinstance(code, str):
            raise ToolError("code_interpreter takes one argument, code, which is a string of Python source")
        try:
            sandbox = self.sandbox(context.conversation_id)
            execution = await sandbox.execute(code, on_output=context.on_output)
        except ValueError as error:
            raise ToolError(str(error)) from error
        except SandboxBroken as error:
            raise ToolError(f"the Python sandbox could not be started: {error}") from error
        text, artifacts = for_model(execution, self.limits)
        return ToolResult(text, artifacts, error=execution.failed)

    def sandbox(self, conversation_id: str = "") -> Sandbox:
        """A conversation's sandbox: for files in and out, restarts and interrupts; without a kernel until used."""
        if self._closed:
            raise SandboxUnavailable("this Python tool was closed")
        if conversation_id not in self._sandboxes:
            self._forget_the_oldest()
            self._sandboxes[conversation_id] = Sandbox(warm=self._warm, room=self._room)
        self._sandboxes.move_to_end(conversation_id)
        return self._sandboxes[conversation_id]

    def resumed(self, conversation_id: str) -> None:
        """Say with the next result that variables are gone, unless the conversation's kernel still lives."""
        self.sandbox(conversation_id).resumed()

    async def aclose(self) -> None:
        """End the kernels and everything they started."""
        self._closed = True
        waiting = self._warm.close()
        await asyncio.gather(*(sandbox.close() for sandbox in self._sandboxes.values()))
        if waiting is not None:
            await asyncio.wait([asyncio.wrap_future(waiting)], timeout=10)

    def _forget_the_oldest(self) -> None:
        for name in list(self._sandboxes)[: max(0, len(self._sandboxes) - _REMEMBERED)]:
            if not self._sandboxes[name].live:
                del self._sandboxes[name]
