"""Serving one call: find the tool, check the arguments, run it within its limits, and say what came of it."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from arriero.prompts import Message, ToolCall
from arriero.tools import Artifact, Tool, ToolContext, ToolError, ToolResult
from arriero.tools.arguments import argument_error

from .cancellation import CancellationToken, RunCancelled
from .events import ArtifactRef
from .limits import Limits

_TOLD = "\n\nNote: this call has now given the same result {times} times; do not repeat it."


@dataclass(slots=True)
class Served:
    """What came of a call."""

    call: ToolCall
    result: ToolResult
    seconds: float = 0.0

    def report(self, answer: Message) -> dict[str, Any]:
        """The fields of ToolCallFinished."""
        return {
            "call_id": self.call.id,
            "name": self.call.name,
            "ok": not self.result.error,
            "content": answer.content,
            "artifacts": tuple(
                ArtifactRef(name=a.name, mime=a.mime, data=a.data) for a in self.result.artifacts
            ),
            "seconds": self.seconds,
        }


def refusal(call: ToolCall, tools: Mapping[str, Tool]) -> str | None:
    """Why a call must not run, in words for the model; None if it may."""
    tool = tools.get(call.name)
    if tool is None:
        offered = ", ".join(sorted(tools)) or "none"
        return f"Error: there is no tool called {call.name!r}. Tools that can be called: {offered}."
    error = argument_error(tool.spec, call.arguments)
    return f"Error: {error}" if error else None


async def serve(
    call: ToolCall, tools: Mapping[str, Tool], limits: Limits, cancel: CancellationToken
) -> AsyncGenerator[tuple[str, str] | Served, None]:
    """Run one call: pieces of its output as ``(stream, text)`` while it runs, then one Served. Never raises
    for a tool's fault; RunCancelled passes through after the tool was told to stop."""
    reason = refusal(call, tools)
    if reason:
        yield Served(call, ToolResult(reason, error=True))
        return
    tool = tools[call.name]
    loop = asyncio.get_running_loop()
    output: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()
    context = ToolContext(call.id, lambda *piece: _put(loop, output, piece))
    started = time.monotonic()
    timeout = tool.timeout or limits.tool_timeout
    task = asyncio.create_task(_bounded(tool, call.arguments, context, timeout))
    task.add_done_callback(lambda _: output.put_nowait(None))
    try:
        while (piece := await cancel.guard(output.get())) is not None:
            yield piece
    except (RunCancelled, GeneratorExit):
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
        raise
    result = _shortened(task.result(), limits.max_output_chars)
    yield Served(call, result, time.monotonic() - started)


def _put(
    loop: asyncio.AbstractEventLoop, queue: "asyncio.Queue[tuple[str, str] | None]", piece: tuple[str, str]
) -> None:
    # A tool that was given up on may still write when the loop has gone.
    if not loop.is_closed():
        loop.call_soon_threadsafe(queue.put_nowait, piece)


async def _bounded(tool: Tool, arguments: dict[str, Any], context: ToolContext, timeout: float) -> ToolResult:
    try:
        async with asyncio.timeout(timeout):
            return await tool.run(arguments, context)
    except TimeoutError:
        text = (
            f"Error when running tool: {tool.name} did not answer within {timeout:g} seconds and was stopped."
        )
    except ToolError as error:
        text = f"Error when running tool: {error}"
    except Exception as error:
        # Whatever a tool raises is told to the model in the reference's words; a run never dies of it.
        text = f"Error when running tool: {type(error).__name__}: {error}"
    return ToolResult(text, error=True)


def _shortened(result: ToolResult, limit: int) -> ToolResult:
    """Head and tail of an output that is too long for the model; the whole becomes an artifact."""
    text = result.content
    if len(text) <= limit:
        return result
    half = limit // 2
    cut = len(text) - 2 * half
    name = "output.txt"
    short = f"{text[:half]}\n[… {cut} characters left out; the whole is in {name} …]\n{text[-half:]}"
    whole = Artifact(name, "text/plain", text.encode("utf-8", "backslashreplace"))
    return ToolResult(short, (*result.artifacts, whole), result.error)


@dataclass(slots=True)
class Repeats:
    """Notices a model that makes the same call with the same result again and again."""

    limit: int
    _last: tuple[str, str, str] | None = None
    times: int = field(default=0)

    def answer(self, served: Served) -> Message:
        """The message that answers a call, with a note once the limit of repeats is reached."""
        call, text = served.call, served.result.content
        key = (call.name, json.dumps(call.arguments, sort_keys=True, default=str), text)
        self.times = self.times + 1 if key == self._last else 1
        self._last = key
        note = _TOLD.format(times=self.times) if self.times == self.limit else ""
        return Message(role="ipython", content=text + note, tool_call_id=call.id, name=call.name)

    @property
    def exceeded(self) -> bool:
        return self.times > self.limit
