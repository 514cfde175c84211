"""Runs the cases of a suite: through a model, or with the right calls written out and read back."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final

from arriero.agent.agent import Agent
from arriero.agent.backends import Model, Sampling, ScriptedModel
from arriero.agent.events import RunFinished, ToolCallStarted
from arriero.agent.limits import Limits
from arriero.prompts import ToolCall, ToolSpec
from arriero.prompts.dialects import get_dialect
from arriero.tools import Tool, ToolContext, ToolResult

from .answers import Checker
from .bfcl import WITH_ANSWERS, WITH_ANY_CALL, Case
from .tally import Score
from .writing import DONE, written

_INSTRUCTIONS: Final = "You are a helpful assistant."
_DATE: Final = "26 July 2024"


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
        texts = written(form, case.tools, case.example(), together=together)
        model = ScriptedModel([*texts, DONE], dialect=dialect)
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


def _judged(case: Case, calls: Sequence[ToolCall], check: Checker) -> str:
    if case.category in WITH_ANSWERS:
        return check(case, calls)
    if case.category in WITH_ANY_CALL:
        return "" if calls else "no tool was called"
    return f"{calls[0].name} was called, and no tool fits" if calls else ""
