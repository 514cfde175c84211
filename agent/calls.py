"""Serving one call: find the tool, check the arguments, run it within its limits, and say what came of it."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from arriero.prompts import Message, ToolCall
from arriero.tools import ApprovalRequired, Artifact, RunContext, Tool, ToolResult
from arriero.tools._results import whole_text
from arriero.tools.arguments import argument_error, given

from .approval import Answer, ApprovalRules, Decided, Edited, Objection, Refused, answer_of
from .approval import Approve as Approve
from .cancellation import Waits
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
    """What serving needs to know beside the call.

    ``decisions`` are a person's, by call id. ``unknown`` names calls that an earlier run began and of which
    nobody knows whether they took effect. ``told`` is what those who decided had been told of the call.
    """

    tools: Mapping[str, Tool]
    limits: Limits
    waits: Waits
    deps: Any = None
    approve: Approve | None = None
    conversation_id: str = ""
    recorder: Recorder = field(default_factory=Recorder)
    budget: Budget | None = None
    decisions: Mapping[str, Decided] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    told: str = ""


class ServedCall:
    """One call while it is served, from the question whether it may run to what came of it.

    ``next`` gives pieces of the tool's output as ``(stream, text)`` while it runs, and None at the end; then
    ``served`` is there. It never raises for a tool's fault; RunCancelled passes through. ``end`` stops what runs
    and must be called in any case. ``refused`` is what the model reads where the call must not run, ``objection``
    what a screen wants to have decided before.

    Where a person wants other arguments, ``edit`` is there in the place of ``served``: the call is then to be
    checked, screened and served anew, as ``edited``, which is approved thereby.
    """

    def __init__(
        self,
        call: ToolCall,
        service: Service,
        *,
        step: int = 0,
        refused: str | None = None,
        objection: Objection | None = None,
        edited: bool = False,
    ) -> None:
        self.call = call
        self._service = service
        self._step = step
        self._objection = objection
        self._started = time.monotonic()
        self._needed: _Needed | None = None
        self._edited = self._approved = edited
        self._running: Execution | None = None
        self._asked = False
        self.edit: Edited | None = None
        self.served = None if refused is None else Served(call, ToolResult(refused, error=True))

    async def next(self) -> tuple[str, str] | None:
        """The next piece of its output; None when it has been served. Raises RunCancelled."""
        while self.served is None and self.edit is None:
            if self._running is None:
                await self._begin()
            elif (piece := await self._running.next()) is not None:
                return piece
            else:
                await self._end(self._running)
        return None

    async def end(self) -> None:
        """Stop the tool if it still runs."""
        if self._running is not None:
            await self._running.end()

    async def _begin(self) -> None:
        """Ask whether it may run, and let it where it may."""
        call, service = self.call, self._service
        tool = service.tools[call.name]
        if not self._asked:
            self._asked = True
            self._needed, failed = _needed(call, tool, service, self._objection, edited=self._edited)
            if failed is not None:
                return self._finish(failed)
        if self._needed is not None:
            needed, self._needed = self._needed, None
            decided = await self._undecided(needed)
            if isinstance(decided, Edited):
                self.edit = decided
                return None
            if decided is not None:
                return self._finish(decided)
            self._approved = self._approved or needed.approval
        await service.waits.on(service.recorder.intend(call, self._step, tool.effect))
        context = partial(
            RunContext,
            call.id,
            deps=service.deps,
            tool_name=call.name,
            approved=self._approved,
            conversation_id=service.conversation_id,
        )
        timeout = tool.timeout or service.limits.tool_timeout
        arguments = given(tool.spec, call.arguments)
        self._running = Execution(
            tool, arguments, context, service.waits, timeout=timeout, budget=service.budget
        )

    async def _undecided(self, needed: "_Needed") -> Served | Edited | None:
        """Have the call approved; None if it may run, Edited if it shall with other arguments."""
        call, service = self.call, self._service
        unknown = _is_unknown(call, service)
        # In a task of its own, since the user's function need not listen to being cancelled.
        asking = asyncio.create_task(_decision(call, service, needed, unknown=unknown))
        try:
            await service.waits.on(asyncio.wait([asking]))
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
                await service.recorder.suspend(call, self._step, service.tools[call.name].effect)
            text = _WAITING.format(name=call.name, why=f": {needed.why}" if needed.why else "")
            return Served(call, ToolResult(text, error=True), undecided=True, why=needed.why)
        said = f" and said why: {decision.reason}" if isinstance(decision, Refused) else "."
        text = (_UNKNOWN if unknown else _REFUSED).format(name=call.name, why=said)
        return Served(call, ToolResult(text, error=True))

    async def _end(self, running: Execution) -> None:
        """Take what the tool came to; one that wants to be approved runs from the start once it is."""
        self._running = None
        await running.end()
        try:
            served = Served(self.call, running.result())
        except ApprovalRequired as why:
            if not self._approved:
                self._needed = _Needed(str(why))
                return
            served = Served(self.call, told(why))  # it may not ask again
        self._finish(served)

    def _finish(self, served: Served) -> None:
        served.result = _shortened(served, self._service)
        served.seconds = time.monotonic() - self._started
        self.served = served


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
    unknown = bool(service.unknown) and _is_unknown(call, service) and not edited
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


async def _decision(call: ToolCall, service: Service, needed: _Needed, *, unknown: bool) -> Answer:
    approve = service.approve
    if isinstance(approve, ApprovalRules) and approve.decide(call.name, call.arguments) == "deny":
        return False
    if call.id in service.decisions:
        decided = _plain(service.decisions[call.id], call)
        untold = needed.objection is not None and needed.objection.reason not in service.told
        return None if untold and decided is True else decided
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
