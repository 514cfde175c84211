"""Runs the cases of a suite: through a model, or with the right calls written out and read back."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from arriero.agent.agent import Agent
from arriero.agent.backends import Model, Sampling, ScriptedModel
from arriero.agent.events import RunFinished, ToolCallStarted
from arriero.agent.limits import Limits
from arriero.prompts import Message, ToolCall, ToolSpec
from arriero.prompts.dialects import Dialect, get_dialect
from arriero.tools import Tool, ToolContext, ToolResult

from .answers import Checker
from .bfcl import WITH_ANSWERS, WITH_ANY_CALL, Case

_INSTRUCTIONS: Final = "You are a helpful assistant."
_ONE_CALL: Final = frozenset({"hf-3.1", "llama3.1"})
_DATE: Final = "26 July 2024"


@dataclass(frozen=True, slots=True)
class Score:
    """What came of one case; ``problem`` is empty where all was right."""

    case: Case
    calls: tuple[ToolCall, ...]
    problem: str


@dataclass(slots=True)
class Tally:
    """Right cases of all, and what was wrong with the others."""

    right: int = 0
    total: int = 0
    wrong: list[Score] = field(default_factory=list)

    def add(self, score: Score) -> None:
        """Count one case."""
        self.total += 1
        self.right += not score.problem
        if score.problem:
            self.wrong.append(score)


class _Idle(Tool):
    """Takes every call and does nothing."""

    def __init__(self, spec: ToolSpec) -> None:
        self.spec = spec

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult('{"status": "ok"}')


async def run_model(
    cases: Iterable[Case],
    model: Model,
    check: Checker,
    *,
    dialect: str | None = None,
    sampling: Sampling | None = None,
) -> AsyncIterator[Score]:
    """Ask the model each question and check the calls of its first message; nothing is executed."""
    for case in cases:
        agent = _agent(case, model, dialect or model.dialect, Limits(max_steps=1), sampling)
        calls, _ = await _asked(agent, case)
        yield Score(case, calls, _judged(case, calls, check))


async def replay(
    cases: Iterable[Case], check: Checker, *, dialect: str, together: bool = True
) -> AsyncIterator[Score]:
    """Write the right calls in a dialect and send them through parser, coercion and loop.

    With ``together`` all calls of a case are in one message where the dialect can write that, else one each.
    Shows what the way from text to call loses; no model is asked. Only cases with answers are run.
    """
    form = get_dialect(dialect)
    for case in cases:
        if case.category not in WITH_ANSWERS:
            continue
        texts = _written(form, case, together=together)
        model = ScriptedModel([*texts, "Done.<|eot_id|>"], dialect=dialect)
        limits = Limits(max_steps=None, max_repeats=1000, max_output_chars=10**9)
        calls, end = await _asked(_agent(case, model, dialect, limits, None), case)
        yield Score(case, calls, end or _judged(case, calls, check))


async def _asked(agent: Agent, case: Case) -> tuple[tuple[ToolCall, ...], str]:
    """The calls that the loop read, were their arguments let through or not, and why the run did not end well."""
    calls: list[ToolCall] = []
    end = ""
    async with aclosing(agent.stream(case.question)) as events:
        async for event in events:
            if isinstance(event, ToolCallStarted):
                calls.append(ToolCall(id=event.call_id, name=event.name, arguments=event.arguments))
            elif isinstance(event, RunFinished) and event.stop_reason != "final":
                end = f"the run ended with {event.stop_reason}: {event.error}"
    return tuple(calls), end


def _agent(case: Case, model: Model, dialect: str, limits: Limits, sampling: Sampling | None) -> Agent:
    return Agent(
        model,
        instructions=case.system or _INSTRUCTIONS,
        tools=[_Idle(spec) for spec in _unique(case.tools)],
        limits=limits,
        sampling=sampling or Sampling(temperature=0),
        dialect=dialect,
        date=_DATE,
    )


def _unique(tools: Sequence[ToolSpec]) -> list[ToolSpec]:
    # A few published cases offer the same function twice.
    return list({tool.name: tool for tool in tools}.values())


def _written(form: Dialect, case: Case, *, together: bool) -> list[str]:
    calls = case.example()
    if together and len(calls) > 1 and form.name not in _ONE_CALL:
        return [_message(form, case, calls)]
    return [_message(form, case, [call]) for call in calls]


def _message(form: Dialect, case: Case, calls: list[ToolCall]) -> str:
    """The text of an assistant message with these calls, from after its header to its end."""
    message = Message(role="assistant", tool_calls=tuple(calls), end="eom")
    segments = form.extend([message], tools=list(case.tools), builtin_tools=None, answer=False)
    text = "".join(segment.text for segment in segments)
    return text.partition("<|end_header_id|>")[2].removeprefix("\n\n")


def _judged(case: Case, calls: Sequence[ToolCall], check: Checker) -> str:
    if case.category in WITH_ANSWERS:
        return check(case, calls)
    if case.category in WITH_ANY_CALL:
        return "" if calls else "no tool was called"
    return f"{calls[0].name} was called, and no tool fits" if calls else ""
