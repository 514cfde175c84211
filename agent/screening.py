"""The screens of a run: what they are given at each place, and what follows from what they say."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

from arriero.prompts import CODE_INTERPRETER, Message, ToolCall
from arriero.safety.base import Attachment, Place, ScreenInput
from arriero.safety.pipeline import Checked, Outcome, Pipeline
from arriero.safety.stream import ScreenedText
from arriero.tools import Tool, ToolResult

from .approval import Approve, Objection, shown_call
from .backends import Model
from .cancellation import CancellationToken
from .conversation import Conversation


@runtime_checkable
class Prefills(Protocol):
    """A model that can read tokens ahead, so that a later ``generate`` need not."""

    async def prefill(self, tokens: Sequence[int]) -> None:
        """Read ``tokens`` and sample nothing; cancelling stops it."""


def report(check: Checked, call_id: str | None = None) -> dict[str, Any]:
    """The fields of GuardrailChecked."""
    return {
        "place": check.place,
        "screen": check.screen,
        "action": check.action,
        "score": check.verdict.score,
        "scores": dict(check.verdict.scores),
        "categories": check.verdict.categories,
        "threshold": check.threshold,
        "seconds": check.seconds,
        "reason": check.verdict.reason,
        "failed": check.failed,
        "call_id": call_id,
    }


def why(outcome: Outcome) -> str:
    """The error of a run that an outcome ends."""
    what = _PLACE[outcome.checks[0].place]
    if outcome.failed:
        return (
            f"the {what} has not been screened: {outcome.reason}. "
            "Mend the screen, or say in the policy what follows when it fails (on_failure)."
        )
    reason = f": {outcome.reason}" if outcome.reason else ""
    return f"the {what} was blocked by the screen {outcome.screen!r}{reason}"


_PLACE: Final[dict[Place, str]] = {
    "input": "input",
    "tool_call": "tool call",
    "code": "code",
    "tool_result": "tool's result",
    "output": "answer",
}


_OF_CALLS: Final[tuple[Place, Place]] = ("tool_call", "code")

PASSED: Final = Outcome("allow", "")
"""What is said where nothing is screened."""


@dataclass(slots=True)
class Screening:
    """Asks the screens at each place of one run; whoever must be asked instead is asked here, too.

    ``retries`` is how often the model may still write anew because a screen wants it to.
    """

    pipeline: Pipeline
    conversation: Conversation
    cancel: CancellationToken
    approve: Approve | None = None
    retries: int = 0

    async def admit(self, message: Message, model: Model) -> Outcome:
        """Screen what a user wrote, which the conversation has already; the model may read it meanwhile."""
        texts = [message.content, *message.parts, *([message.context] if message.context else [])]
        given = ScreenInput("input", "\n\n".join(texts), messages=tuple(self.conversation.messages[:-1]))
        if "input" not in self.pipeline.places:
            return Outcome("allow", given.text)
        reading = self._read_ahead(model)
        try:
            outcome = await self._ask(given)
            if reading and outcome.action == "allow":
                await self.cancel.guard(asyncio.wait({reading}))
        finally:
            if reading:
                reading.add_done_callback(_forget)
                reading.cancel()
        if outcome.action == "replace" and len(texts) > 1:
            return outcome._replace(action="block", reason=f"{outcome.reason} (it has several parts)")
        return outcome

    async def calls(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> list[Outcome]:
        """Screen all calls of a message at once; ``ask`` is left to whoever serves the call."""
        if self.pipeline.places.isdisjoint(_OF_CALLS):
            return [PASSED] * len(calls)
        earlier = tuple(self.conversation.messages)
        given = [_call_input(call, tools.get(call.name), earlier) for call in calls]
        outcomes = await self.cancel.guard(_all(self.pipeline, given))
        return [outcome._replace(action="block") if outcome.replaced else outcome for outcome in outcomes]

    async def result(self, call: ToolCall, result: ToolResult) -> tuple[ToolResult, Outcome]:
        """Screen what came of a call; the result is the one that the model may read."""
        if "tool_result" not in self.pipeline.places:
            return result, PASSED
        given = ScreenInput(
            "tool_result",
            result.content,
            role="ipython",
            origin=f"tool:{call.name}",
            tool=call.name,
            arguments=call.arguments,
            call_id=call.id,
            messages=tuple(self.conversation.messages),
            attachments=tuple(Attachment(one.name, one.mime, one.data) for one in result.artifacts),
        )
        outcome = await self._ask(given)
        if outcome.action == "allow":
            return result, outcome
        if outcome.action == "replace":
            return replace(result, content=outcome.text), outcome
        return ToolResult(self.pipeline.policy.text("tool_result", call.name), error=True), outcome

    def refusal(self, call: ToolCall, outcome: Outcome) -> str | None:
        """What the model reads in the place of a call's result; None where the call may run or has to be asked."""
        if outcome.action in ("allow", "ask"):
            return None
        place: Place = outcome.checks[0].place
        return self.pipeline.policy.text(place, call.name)

    def objection(self, call: ToolCall, outcome: Outcome) -> Objection | None:
        """What somebody has to decide before the call runs; None where no screen wants that."""
        if outcome.action != "ask":
            return None
        place: Place = outcome.checks[0].place
        text = outcome.text if place == "code" else shown_call(call.name, call.arguments)
        return Objection(place, outcome.screen, outcome.reason, text, call)

    def retry(self, outcomes: Sequence[Outcome]) -> str | None:
        """Why the model shall write its calls anew; None where it shall not, or has done so too often."""
        wanted = next((outcome for outcome in outcomes if outcome.action == "retry"), None)
        return why(wanted) if wanted and self.may_retry() else None

    def may_retry(self) -> bool:
        """Count another attempt; False when all have been made."""
        self.retries -= 1
        return self.retries >= 0

    def text(self, place: Place) -> str:
        """What is said in the place of a blocked text."""
        return self.pipeline.policy.text(place)

    def answer(self) -> ScreenedText | None:
        """A new answer of the model, to be screened while it is written; None where nothing screens it."""
        if "output" not in self.pipeline.places:
            return None
        given = ScreenInput(
            "output",
            "",
            role="assistant",
            origin="model",
            messages=tuple(self.conversation.messages),
            final=False,
        )
        return ScreenedText(self.pipeline, given, partial(self._allowed, given))

    @property
    def shows_calls(self) -> bool:
        """Whether calls may be shown while they are written: not where a screen needs time to judge them."""
        pipeline = self.pipeline
        return pipeline.places.isdisjoint(_OF_CALLS) or all(map(pipeline.instant, _OF_CALLS))

    async def _ask(self, given: ScreenInput) -> Outcome:
        outcome = await self.cancel.guard(self.pipeline.check(given))
        if outcome.action == "ask" and await self._allowed(given, outcome):
            return outcome._replace(action="replace" if outcome.replaced else "allow")
        return outcome

    async def _allowed(self, given: ScreenInput, outcome: Outcome) -> bool:
        """Whether a person lets a text pass; without one, it does not."""
        objection = Objection(given.place, outcome.screen, outcome.reason, outcome.text)
        return bool(await self.cancel.guard(objection.put_to(self.approve)))

    def _read_ahead(self, model: Model) -> "asyncio.Task[None] | None":
        """Let the model read the prompt while slow screens think; whether that fails does not matter, since
        ``generate`` reads what is left and says what is wrong.
        """
        if not isinstance(model, Prefills) or self.pipeline.instant("input"):
            return None
        return asyncio.create_task(model.prefill(list(self.conversation.tokens)))


def _call_input(call: ToolCall, tool: Tool | None, earlier: tuple[Message, ...]) -> ScreenInput:
    code = call.arguments.get("code") if call.name == CODE_INTERPRETER else None
    place: Place = "code" if isinstance(code, str) else "tool_call"
    return ScreenInput(
        place,
        code if isinstance(code, str) else json.dumps(call.arguments, ensure_ascii=False, default=str),
        role="assistant",
        origin="model",
        tool=call.name,
        arguments=call.arguments,
        effect=tool.effect if tool else None,
        call_id=call.id,
        messages=earlier,
    )


def _forget(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()


async def _all(pipeline: Pipeline, given: Sequence[ScreenInput]) -> list[Outcome]:
    if len(given) == 1:  # the usual case needs no task of its own
        return [await pipeline.check(given[0])]
    return list(await asyncio.gather(*map(pipeline.check, given)))
