"""What stands in for tools, screens, people and clocks while a recorded run is run again."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from arriero.agent.approval import Answer, Edited, edit_note
from arriero.agent.context import ContextState
from arriero.agent.events import (
    ApprovalRequested,
    Event,
    GuardrailChecked,
    ModelRetried,
    RunFinished,
    StepStarted,
    TextDelta,
    ToolCallEdited,
    ToolCallFinished,
    ToolCallStarted,
)
from arriero.agent.output import Output
from arriero.prompts import Message, ToolCall, ToolSpec
from arriero.safety.base import ACTIONS, PLACES, ScreenInput, Verdict
from arriero.safety.policy import Policy, Rule, Texts
from arriero.tools import ApprovalRequired, Tool, ToolContext, ToolResult

from .records import CallInfo

Stop = Callable[[], Awaitable[None]]
"""Stops the run where it was stopped then; it does not return."""

_NOTE: Final = re.compile(r"\n\nNote: this call has now given the same result \d+ times; do not repeat it\.$")
_SCREEN: Final = "recorded"
_REFUSING: Final = ("replace", "retry", "block")  # what screens say of calls that are then not run


class RecordedTool(Tool):
    """Answers calls with what a tool said in a recorded run; nothing is done.

    ``calls`` and the reasons why some ``asked`` for approval are by call id.
    """

    effect = "read"

    def __init__(
        self, spec: ToolSpec, calls: Mapping[str, CallInfo], asked: Mapping[str, str], stop: Stop
    ) -> None:
        self.spec = spec
        self._calls = calls
        self._asked = asked
        self._stop = stop

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        if context.call_id in self._asked:  # whatever a later run has made of it
            raise ApprovalRequired(self._asked[context.call_id])
        recorded = self._calls.get(context.call_id)
        if recorded is None or recorded.arguments != arguments:
            return ToolResult(f"Error: no such call of {self.name} was recorded.", error=True)
        if recorded.answer is None:
            await self._stop()
            return ToolResult("Error: what came of this call was not recorded.", error=True)
        call = ToolCall(name=self.name, arguments=arguments)
        answer = recorded.answer.removeprefix(edit_note(call)) if context.approved else recorded.answer
        return ToolResult(_NOTE.sub("", answer), error=not recorded.ok)


class RecordedForm(Output[Any]):
    """Finds wrong with answers what was found then; ``schema`` is what the model was held to, if anything."""

    def __init__(self, schema: Mapping[str, Any], problems: Mapping[str, str]) -> None:
        self.schema = schema
        self._problems = problems

    def problem(self, text: str) -> str | None:
        return self._problems.get(text)


@dataclass(frozen=True, slots=True)
class RecordedCompactions:
    """A context policy that does what was done with the same messages then."""

    done: Sequence[tuple[tuple[Message, ...], tuple[Message, ...]]]

    def __call__(self, state: ContextState) -> Sequence[Message] | None:
        """The messages that were gone on with; None where nothing was taken out."""
        return next((after for before, after in self.done if before == state.messages), None)


@dataclass(slots=True)
class Heard:
    """What the events of a run say that no other table does.

    ``verdicts`` are by place and call, and by how often that had been edited; ``answers`` those on each message of
    the model, ``shown`` its text as it was shown. ``problems`` are what was wrong with answers, by their text.
    ``edits`` are what a person made of calls, in order. ``refused`` are calls that a screen kept from running, with
    its place and what the model was told; ``asked`` says why those that nobody decided were asked about.
    ``told_first`` was said before the model wrote anything.
    """

    verdicts: dict[tuple[str, str | None, int], list[GuardrailChecked]] = field(default_factory=dict)
    answers: list[list[GuardrailChecked]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    edits: list[ToolCallEdited] = field(default_factory=list)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    told_first: str = ""

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Heard":
        """Read the events of one run."""
        heard, started = cls(), set[str]()
        for event in events:
            match event:
                case StepStarted():
                    heard.shown.append("")
                    heard.answers.append([])
                case TextDelta() if heard.shown:
                    heard.shown[-1] += event.text
                case TextDelta():
                    heard.told_first += event.text
                case GuardrailChecked() if event.place == "output" and heard.answers:
                    heard.answers[-1].append(event)
                case GuardrailChecked():
                    times = heard.times_edited(event.call_id)
                    heard.verdicts.setdefault((event.place, event.call_id, times), []).append(event)
                case ToolCallStarted():
                    started.add(event.call_id)
                case ToolCallEdited():
                    heard.edits.append(event)
                case ToolCallFinished():
                    heard.refusal(event, started=event.call_id in started)
                case ApprovalRequested():
                    heard.asked[event.call_id] = event.reason
                case ModelRetried() if heard.shown and not event.discarded_tokens:
                    heard.problems[heard.shown[-1]] = event.reason
                case RunFinished() if event.stop_reason == "error" and event.output in heard.shown[-1:]:
                    heard.problems[event.output] = event.error or ""
        return heard

    def times_edited(self, call_id: str | None) -> int:
        """How often a person has edited the call."""
        return sum(edit.call_id == call_id for edit in self.edits)

    def refusal(self, event: ToolCallFinished, *, started: bool) -> None:
        """Note a call that a screen kept from running."""
        edits = [edit for edit in self.edits if edit.call_id == event.call_id]
        place = next(
            (one for one in ("code", "tool_call") if (one, event.call_id, len(edits)) in self.verdicts),
            "tool_call",
        )
        worst = _worst(self.verdicts.get((place, event.call_id, len(edits)), ()))
        if started and not (edits and worst and worst.action in _REFUSING):
            return
        content = event.content
        if edits:
            edited = ToolCall(name=event.name, arguments=edits[-1].arguments)
            content = content.removeprefix(edit_note(edited))
        self.refused[event.call_id] = place, content.replace(event.name, "{tool}")

    def texts(self) -> Texts:
        """What was said in the place of texts that were blocked, as far as it is known."""
        usual = Texts()
        refused = dict(reversed(self.refused.values()))
        return Texts(
            input=self.told_first or usual.input,
            output=(self.shown[-1] if self.shown else "") or usual.output,
            tool_call=refused.get("tool_call", usual.tool_call),
            code=refused.get("code", usual.code),
        )


class RecordedPerson:
    """Edits calls as a person did then, one after the other, and decides nothing else."""

    def __init__(self, edits: Sequence[ToolCallEdited]) -> None:
        self._edits = edits
        self._made = 0

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        """The next edit, where a screen asks about a call; that is how ``RecordedScreen`` asks for it."""
        if "tool" not in arguments or self._made >= len(self._edits):
            return None
        self._made += 1
        return Edited(self._edits[self._made - 1].arguments)

    def times_edited(self, call_id: str | None) -> int:
        """How often the call has been edited again by now."""
        return sum(edit.call_id == call_id for edit in self._edits[: self._made])


class RecordedScreen:
    """Says of each text what all screens together made of it then; ``admitted`` is the prompt as it was let pass."""

    name = _SCREEN
    instant = True

    def __init__(self, heard: Heard, admitted: str | None, person: RecordedPerson) -> None:
        self._heard = heard
        self._admitted = admitted
        self._person = person
        self._answered = 0

    async def check(self, given: ScreenInput) -> Verdict:
        """The strictest recorded verdict. Results were recorded as the model read them, and pass as they are."""
        if given.place == "output":
            return self._answer(given)
        times = self._person.times_edited(given.call_id)
        if given.place != "tool_result" and times < self._heard.times_edited(given.call_id):
            return Verdict("ask")
        if times and given.call_id in self._heard.asked:  # a screen had something against what it had become
            return Verdict("ask", reason=self._heard.asked[given.call_id])
        worst = _worst(self._heard.verdicts.get((given.place, given.call_id, times), ()))
        if worst is None or given.place == "tool_result":
            return Verdict()
        if given.call_id in self._heard.refused:
            return Verdict("block", reason=worst.reason)
        if worst.action == "replace":
            return Verdict("replace", replacement=self._admitted)
        # Whoever was asked about a call: what came of it is recorded as its answer.
        asked = worst.action == "ask" and given.call_id is not None
        return Verdict("allow" if asked else worst.action, reason=worst.reason)

    def _answer(self, given: ScreenInput) -> Verdict:
        if not given.final:
            return Verdict(hold=len(given.text) - given.passed)
        number, self._answered = self._answered, self._answered + 1
        if number >= len(self._heard.shown):
            return Verdict()
        shown, worst = self._heard.shown[number], _worst(self._heard.answers[number])
        if shown == given.text:
            return Verdict()
        if worst is None or worst.action in ("allow", "replace"):
            return Verdict("replace", replacement=shown)
        return Verdict("retry" if worst.action == "retry" and not shown else "block", reason=worst.reason)


def recorded_policy(heard: Heard, admitted: str | None, person: RecordedPerson) -> Policy:
    """A policy with one screen, which says what all screens said in a recorded run."""
    rules: dict[str, Any] = {place: {_SCREEN: Rule()} for place in PLACES}
    screen = RecordedScreen(heard, admitted, person)
    return Policy(
        name=_SCREEN, texts=heard.texts(), screens={_SCREEN: screen}, retries=len(heard.shown), **rules
    )


def _worst(checks: Sequence[GuardrailChecked]) -> GuardrailChecked | None:
    return max(checks, key=lambda check: ACTIONS.index(check.action), default=None)
