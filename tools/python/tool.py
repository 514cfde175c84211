"""The code interpreter as a tool: what Llama calls ``code_interpreter``."""

from typing import Any

from arriero.prompts import CODE_INTERPRETER, ToolSpec
from arriero.tools import Tool, ToolContext, ToolError, ToolResult

from .errors import SandboxBroken
from .levels import Wanted
from .limits import SandboxLimits
from .result import for_model
from .sandbox import PRELOAD, Sandbox

_DESCRIPTION = (
    "Run Python code in a sandboxed Jupyter kernel without network. Variables persist from call to call; "
    "what is printed and the value of the last expression come back."
)


class PythonTool(Tool):
    """Runs the model's Python code in a sandbox, one kernel per conversation.

    ``limits``, ``level``, ``spare`` and ``preload`` are those of Sandbox. Where no level of the sandbox can be had,
    ``run`` raises SandboxUnavailable; ``Sandbox.probe()`` says so beforehand.
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
    ) -> None:
        self.sandbox = Sandbox(limits, level, spare=spare, preload=preload)

    async def prestart(self) -> None:
        """Begin to start the kernel in the background, so that the first call does not wait for it."""
        await self.sandbox.prestart()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Run ``arguments["code"]``; raises ToolError for what cannot be run and SandboxUnavailable."""
        code = arguments.get("code")
        if not isinstance(code, str):
            raise ToolError("code_interpreter takes one argument, code, which is a string of Python source")
        try:
            execution = await self.sandbox.execute(code, on_output=context.on_output)
        except ValueError as error:
            raise ToolError(str(error)) from error
        except SandboxBroken as error:
            raise ToolError(f"the Python sandbox could not be started: {error}") from error
        text, artifacts = for_model(execution, self.sandbox.limits)
        return ToolResult(text, artifacts, error=execution.failed)

    async def aclose(self) -> None:
        """End the kernel and everything it started."""
        await self.sandbox.close()
