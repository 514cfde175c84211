"""Serving one call: find the tool, check the arguments, run it within its limits, and say what came of it."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from arriero.prompts import Message, ToolCall
from arriero.tools import ApprovalRequired, Artifact, Tool, ToolContext, ToolResult
from arriero.tools._results import whole_text
from arriero.tools.arguments import argument_error, given

from .approval import Answer, ApprovalRules, Decided, Edited, Objection, Refused, answer_of
from .approval import Approve as Approve
from .cancellation import CancellationToken, Waits
from .events import ArtifactRef
from .execution import Execution, told
from .limits import Limits
from .outputs import OutputReader
from .recorder import Recorder
from .subagent import BUDGET, Budget

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


class Refusal(NamedTuple):
    """Why a call must not run, in words for the model; ``mends`` says that it may write a better one."""

    reason: str
    mends: bool = True


def refusal(call: ToolCall, tools: Mapping[str, Tool]) -> Refusal | None:
    """What keeps a call from running: its tool is not there, or its arguments do not fit; None if nothing does."""
    tool = tools.get(call.name)
    if tool is None:
        offered = ", ".join(sorted(tools)) or "none"
        return Refusal(f"there is no tool called {call.name!r}. Tools that can be called: {offered}.")
    try:
        error = argument_error(tool.spec, given(tool.spec, call.arguments))
    except Exception as fault:
        # A schema that another program wrote may be endless or wrong; only calls of that tool suffer.
        return Refusal(f"the schema of {call.name} cannot be used: {type(fault).__name__}", mends=False)
    return Refusal(error) if error else None


@dataclass(slots=True)
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
    decisions: Mapping[str, Decided] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()


async def serve(
    call: ToolCall,
    service: Service,
    *,
    refused: str | None = None,
    objection: Objection | None = None,
    edited: bool = False,
) -> AsyncGenerator[tuple[str, str] | Served | Edited, None]:
    """Run one call: pieces of its output as ``(stream, text)`` while it runs, then one Served. Never raises
    for a tool's fault; RunCancelled passes through after the tool was told to stop. ``refused`` is
    what the model reads where the call must not run, ``objection`` what a screen wants to have decided before.

    Edited, and nothing else, where a person wants other arguments: the call is then to be checked, screened and
    served anew, as ``edited``, which is approved thereby.
    """
    if refused is not None:
        yield Served(call, ToolResult(refused, error=True))
        return
    tool, started = service.tools[call.name], time.monotonic()
    arguments = given(tool.spec, call.arguments)
    context = ToolContext(
        call.id,
        deps=service.deps,
        tool_name=call.name,
        conversation_id=service.conversation_id,
        approved=edited,
    )
    with Waits(service.cancel) as waits:
        needed, served = _needed(call, tool, service, objection, edited=edited)
        while served is None:
            if needed is not None:
                decided = await _undecided(call, service, waits, needed)
                if isinstance(decided, Edited):
                    yield decided
                    return
                served = decided
                context, needed = replace(context, approved=context.approved or needed.approval), None
                continue
            await waits.on(service.recorder.intend(call, service.step, tool.effect))
            timeout = tool.timeout or service.limits.tool_timeout
            running = Execution(tool, arguments, context, waits, timeout=timeout, budget=service.budget)
            try:
                while (piece := await running.next()) is not None:
                    yield piece
            finally:
                await running.end()
            try:
                served = Served(call, running.result())
            except ApprovalRequired as why:
                # Once it has been given, the tool runs from the start; it may not ask again.
                needed, served = _Needed(str(why)), Served(call, told(why)) if context.approved else None
    served.result = _shortened(served, service)
    served.seconds = time.monotonic() - started
    yield served


class _Needed(NamedTuple):
    """What has to be decided before a call runs: whether it is approved, and what a screen objects to."""

    why: str
    approval: bool = True
    objection: Objection | None = None


def _needed(
    call: ToolCall, tool: Tool, service: Service, objection: Objection | None, *, edited: bool
) -> tuple[_Needed | None, Served | None]:
    """What the call needs before it runs, None if it needs nothing; what came of it if that cannot be told."""
    try:
        asks = _asks(call, tool, service, edited=edited)
    except Exception as error:
        return None, Served(call, told(error))
    unknown = _is_unknown(call, service) and not edited
    if asks or objection is not None:
        why = objection.reason if objection else _UNKNOWN_WHY if unknown else ""
        return _Needed(why, asks, objection), None
    return _Needed(_UNKNOWN_WHY) if unknown else None, None


def _asks(call: ToolCall, tool: Tool, service: Service, *, edited: bool) -> bool:
    said = None
    if isinstance(service.approve, ApprovalRules):
        said = service.approve.decide(call.name, call.arguments)
    if edited:
        return said == "deny"  # the person has agreed to the call as it is now; what a rule forbids stays so
    return said in ("deny", "ask") or (said is None and tool.needs_approval(call.arguments))


def _is_unknown(call: ToolCall, service: Service) -> bool:
    return call.id in service.unknown and service.tools[call.name].effect == "once"


async def _undecided(
    call: ToolCall, service: Service, waits: Waits, needed: _Needed
) -> Served | Edited | None:
    """Have the call approved; None if it may run, Edited if it shall with other arguments."""
    unknown = _is_unknown(call, service)
    # In a task of its own, since the user's function need not listen to being cancelled.
    asking = asyncio.create_task(_decision(call, service, needed, unknown=unknown))
    try:
        await waits.on(asyncio.wait([asking]))
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.wait([asking], timeout=0.1)
    try:
        decision = asking.result()
    except Exception as error:
        text = f"{call.name} was not run: asking for approval failed: {type(error).__name__}: {error}"
        return Served(call, ToolResult(f"Error: {text}", error=True))
    if decision:
        return decision if isinstance(decision, Edited) else None
    if decision is None:
        if not unknown:
            await service.recorder.suspend(call, service.step, service.tools[call.name].effect)
        text = _WAITING.format(name=call.name, why=f": {needed.why}" if needed.why else "")
        return Served(call, ToolResult(text, error=True), undecided=True, why=needed.why)
    said = f" and said why: {decision.reason}" if isinstance(decision, Refused) else "."
    text = (_UNKNOWN if unknown else _REFUSED).format(name=call.name, why=said)
    return Served(call, ToolResult(text, error=True))


async def _decision(call: ToolCall, service: Service, needed: _Needed, *, unknown: bool) -> Answer:
    approve = service.approve
    if isinstance(approve, ApprovalRules) and approve.decide(call.name, call.arguments) == "deny":
        return False
    if call.id in service.decisions:
        return _plain(service.decisions[call.id], call)
    if approve is None or unknown:
        # Whoever lets such calls run in general has not said that this one may happen twice.
        return None
    BUDGET.set(service.budget)
    approved: Answer = True
    if needed.approval:
        approved = _plain(await answer_of(approve, call.name, dict(call.arguments)), call)
    if not approved or isinstance(approved, Edited) or needed.objection is None:
        return approved
    return await needed.objection.put_to(approve)


def _plain(answer: Answer, call: ToolCall) -> Answer:
    return True if isinstance(answer, Edited) and answer.leaves(call) else answer


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
    _last: tuple[str, dict[str, Any], str] | None = None
    times: int = field(default=0)

    def answer(self, served: Served) -> Message:
        """The message that answers a call, with a note once the limit of repeats is reached."""
        call, text = served.call, served.result.content
        key = (call.name, call.arguments, text)
        self.times = self.times + 1 if key == self._last else 1
        self._last = key
        note = _TOLD.format(times=self.times) if self.times == self.limit else ""
        return Message(role="ipython", content=text + note, tool_call_id=call.id, name=call.name)

    @property
    def exceeded(self) -> bool:
        return self.times > self.limit
