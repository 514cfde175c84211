"""Serving one call: find the tool, check the arguments, run it within its limits, and say what came of it."""

import asyncio
import inspect
import json
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from arriero.prompts import Message, ToolCall
from arriero.tools import ApprovalRequired, Artifact, Tool, ToolContext, ToolError, ToolFailed, ToolResult
from arriero.tools._results import as_result, whole_text
from arriero.tools.arguments import argument_error, given
from arriero.tools.threads import in_thread

from .approval import Answer, ApprovalRules, Refused
from .approval import Approve as Approve
from .cancellation import CancellationToken, RunCancelled
from .events import ArtifactRef
from .limits import Limits
from .outputs import OutputReader
from .recorder import JournalError, Recorder
from .subagent import BUDGET, Budget

_GRACE = 1.0  # seconds that a cancelled tool has to clean up
_MOST_PIECES = 10_000  # of output that wait to be shown

_TOLD = "\n\nNote: this call has now given the same result {times} times; do not repeat it."
_REFUSED = "Error: {name} was not run: the user did not allow this call{why}"
_WAITING = "Error: {name} was not run: the call needs the user's approval{why}"
_UNKNOWN_WHY = "the program ended while this call ran, and it may have taken effect"
_UNKNOWN = (
    "Error: it is not known whether {name} took effect: the program ended while the call ran. "
    "Do not assume that it did, nor that it did not."
)


@dataclass(slots=True)
class Served:
    """What came of a call; ``undecided``: it needs an approval that nobody gave or refused, and was not run.

    ``why`` is what the approval is needed for, where that is known.
    """

    call: ToolCall
    result: ToolResult
    seconds: float = 0.0
    undecided: bool = False
    why: str = ""

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
    try:
        error = argument_error(tool.spec, given(tool.spec, call.arguments))
    except Exception as fault:
        # A schema that another program wrote may be endless or wrong; only calls of that tool suffer.
        error = f"the schema of {call.name} cannot be used: {type(fault).__name__}"
    return f"Error: {error}" if error else None


@dataclass(frozen=True, slots=True)
class Service:
    """What serving needs to know beside the call: it is the same for all calls of a message.

    ``decisions`` are a person's, by call id. ``unknown`` names calls that an earlier run began and of which
    nobody knows whether they took effect.
    """

    tools: Mapping[str, Tool]
    limits: Limits
    cancel: CancellationToken
    deps: Any = None
    approve: Approve | None = None
    conversation_id: str = ""
    recorder: Recorder = field(default_factory=Recorder)
    step: int = 0
    budget: Budget | None = None
    decisions: Mapping[str, bool] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()


async def serve(
    call: ToolCall, service: Service, *, refused: str | None = None, ask: str | None = None
) -> AsyncGenerator[tuple[str, str] | Served, None]:
    """Run one call: pieces of its output as ``(stream, text)`` while it runs, then one Served. Never raises
    for a tool's fault; RunCancelled passes through after the tool was told to stop. ``refused`` is
    what the model reads where the call must not run, ``ask`` a reason to have it approved, whatever the tool says.
    """
    reason = refused or refusal(call, service.tools)
    if reason:
        yield Served(call, ToolResult(reason, error=True))
        return
    loop = asyncio.get_running_loop()
    output: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()
    context = ToolContext(
        call.id,
        lambda *piece: _put(loop, output, piece),
        service.deps,
        call.name,
        conversation_id=service.conversation_id,
    )
    started = time.monotonic()
    task = asyncio.create_task(_decided(call, service, context, ask))
    task.add_done_callback(lambda _: output.put_nowait(None))
    try:
        while (piece := await service.cancel.guard(output.get())) is not None:
            yield piece
    except (RunCancelled, GeneratorExit):
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
        raise
    served = task.result()
    served.result = _shortened(served, service)
    served.seconds = time.monotonic() - started
    yield served


def _put(
    loop: asyncio.AbstractEventLoop, queue: "asyncio.Queue[tuple[str, str] | None]", piece: tuple[str, str]
) -> None:
    # A tool that was given up on may still write when the loop has gone, and one may write faster than it is read.
    if loop.is_closed() or queue.qsize() >= _MOST_PIECES:
        return
    stream, text = piece
    clean = ("stderr" if stream == "stderr" else "stdout", whole_text(str(text)))
    loop.call_soon_threadsafe(queue.put_nowait, clean)


async def _decided(call: ToolCall, service: Service, context: ToolContext, ask: str | None) -> Served:
    """Run the call; where it needs approval, ask first, and run it from the start if it may."""
    tool = service.tools[call.name]
    BUDGET.set(service.budget)
    unknown = call.id in service.unknown and tool.effect == "once"
    try:
        if ask is not None or _asks(call, tool, service):
            raise ApprovalRequired(ask or "")
        if unknown:
            raise ApprovalRequired(_UNKNOWN_WHY)
        return Served(call, await _bounded(call, tool, service, context))
    except ApprovalRequired as needed:
        why = str(needed)
    except JournalError:
        raise
    except Exception as error:
        return Served(call, _told(error))
    try:
        decision = await _decision(call, service, unknown=unknown)
    except Exception as error:
        text = f"{call.name} was not run: asking for approval failed: {type(error).__name__}: {error}"
        return Served(call, ToolResult(f"Error: {text}", error=True))
    if decision is None:
        if not unknown:
            await service.recorder.suspend(call, service.step, tool.effect)
        text = _WAITING.format(name=call.name, why=f": {why}" if why else "")
        return Served(call, ToolResult(text, error=True), undecided=True, why=why)
    if not decision:
        why = f" and said why: {decision.reason}" if isinstance(decision, Refused) else "."
        text = (_UNKNOWN if unknown else _REFUSED).format(name=call.name, why=why)
        return Served(call, ToolResult(text, error=True))
    try:
        return Served(call, await _bounded(call, tool, service, replace(context, approved=True)))
    except ApprovalRequired as again:
        return Served(call, _told(again))


def _asks(call: ToolCall, tool: Tool, service: Service) -> bool:
    said = None
    if isinstance(service.approve, ApprovalRules):
        said = service.approve.decide(call.name, call.arguments)
    return said in ("deny", "ask") or (said is None and tool.needs_approval(call.arguments))


async def _decision(call: ToolCall, service: Service, *, unknown: bool) -> Answer:
    approve = service.approve
    if isinstance(approve, ApprovalRules) and approve.decide(call.name, call.arguments) == "deny":
        return False
    if call.id in service.decisions:
        return service.decisions[call.id]
    if approve is None or unknown:
        # Whoever lets such calls run in general has not said that this one may happen twice.
        return None
    # The user's function may ask a person and block meanwhile; the loop must not.
    answer = await in_thread(partial(approve, call.name, dict(call.arguments)), name="approve")
    return await answer if inspect.isawaitable(answer) else answer


async def _bounded(call: ToolCall, tool: Tool, service: Service, context: ToolContext) -> ToolResult:
    """Run within the time limit; every fault but ApprovalRequired becomes text.

    A tool that will not be cancelled is left to itself.
    """
    timeout = tool.timeout or service.limits.tool_timeout
    await service.recorder.intend(call, service.step, tool.effect)
    work = asyncio.create_task(_outcome(tool, given(tool.spec, call.arguments), context))
    try:
        done, _ = await asyncio.wait([work], timeout=timeout)
        outcome = work.result() if done else None
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait([work], timeout=_GRACE)
    if isinstance(outcome, ApprovalRequired):
        raise outcome
    if outcome is None:
        outcome = ToolError(f"{tool.name} did not answer within {timeout:g} seconds and {tool.when_late}.")
    return outcome if isinstance(outcome, ToolResult) else _told(outcome)


async def _outcome(tool: Tool, arguments: dict[str, Any], context: ToolContext) -> ToolResult | BaseException:
    """What the tool answers or raises; nothing that it raises is taken for an order to this program."""
    try:
        result = await tool.run(arguments, context)
        return result if _is_result(result) else as_result(getattr(result, "content", result), name=tool.name)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return error
    except KeyboardInterrupt as error:
        if threading.current_thread() is threading.main_thread():
            raise
        return error
    except BaseException as error:
        return error


def _is_result(result: object) -> bool:
    return isinstance(result, ToolResult) and isinstance(result.content, str)


def _told(error: BaseException) -> ToolResult:
    """A fault in the reference's words; a run never dies of what a tool raises."""
    match error:
        case ToolFailed():
            text = f"{_said(error)} This is final: do not make this call again."
        case ToolError():
            text = _said(error)
        case _:
            text = f"{type(error).__name__}: {_said(error)}"
    return ToolResult(f"Error when running tool: {text}", error=True)


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be read)"


def _shortened(served: Served, service: Service) -> ToolResult:
    """Head and tail of an output that is too long for the model; the whole becomes an artifact."""
    result, limit = served.result, service.limits.max_output_chars
    text = whole_text(result.content)
    if len(text) <= limit or isinstance(service.tools[served.call.name], OutputReader):
        return result if text is result.content else replace(result, content=text)
    half = limit // 2
    cut = len(text) - 2 * half
    name, where = "output.txt", "the whole is in output.txt"
    reader = next((tool for tool in service.tools.values() if isinstance(tool, OutputReader)), None)
    if reader is not None:
        known_as = f"{served.call.name}-{uuid.uuid4().hex[:6]}"
        reader.keep(service.conversation_id, known_as, text)
        where = f'{reader.name}(output="{known_as}", start={half}) reads on'
    short = f"{text[:half]}\n[… {cut} characters left out; {where} …]\n{text[-half:]}"
    whole = Artifact(name, "text/plain", text.encode())
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
