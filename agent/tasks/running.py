"""Running a task: its steps in order, each tried until its checks hold or its attempts are used up."""

import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import date as Date
from pathlib import Path
from typing import Any

from arriero.safety.base import ScreenInput
from arriero.safety.pipeline import Pipeline
from arriero.tools import Tool

from ..agent import DEFAULT_INSTRUCTIONS, Agent
from ..approval import ApprovalRules, Decision
from ..backends import Model, Sampling
from ..cancellation import CancellationToken
from ..conversation import Conversation
from ..endings import Ended, ending
from ..events import (
    Event,
    GuardrailChecked,
    RunFinished,
    TextDelta,
    ToolCallDelta,
    ToolCallFinished,
    ToolCallStarted,
    ToolOutputDelta,
    Usage,
)
from ..limits import Limits
from ..screening import why
from ..timeline import Timeline
from .answering import answering
from .answers import read_output
from .checking import Checker
from .errors import TaskError
from .judging import Judge
from .results import (
    Attempt,
    CallRecord,
    CheckResult,
    Status,
    StepBegan,
    StepEnded,
    StepResult,
    TaskEnded,
    TaskEvent,
    TaskResult,
    add,
    worst,
)
from .spec import Step, TaskLimits, TaskSpec
from .templates import render, resolve

_STATUS: dict[str, Status] = {
    "final": "ok", "max_steps": "limit", "max_tokens": "limit", "max_seconds": "limit", "loop": "limit",
    "cancelled": "cancelled", "blocked": "blocked", "approval": "blocked", "error": "error",
}  # fmt: skip
_SCHEMA = "\n\nAnswer with JSON only, that fits this JSON schema:\n"
_FEEDBACK = "Your answer was not accepted: {why}. Answer again."
_MANY = (TextDelta, ToolCallDelta, ToolOutputDelta)
_DECISIONS: dict[str, Decision] = {"always": "allow", "never": "deny"}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a task runs on: a model, tools by the names that the task has for them, and who watches."""

    model: Model
    tools: Mapping[str, Tool]
    sampling: Sampling
    guards: Pipeline
    date: Date | str | None
    folder: Path | None
    cancel: CancellationToken
    judge: Model | None = None


@dataclass(slots=True)
class _Budget:
    """What is left of the task's limits."""

    limits: TaskLimits
    deadline: float | None
    steps: int = 0
    usage: Usage = field(default_factory=Usage)

    def left(self) -> Limits | None:
        """The bounds of the next run; None if there is nothing left."""
        steps = _left(self.limits.steps, self.steps)
        calls = _left(self.limits.tool_calls, self.usage.tool_calls)
        tokens = _left(self.limits.output_tokens, self.usage.output_tokens)
        seconds = None if self.deadline is None else self.deadline - time.monotonic()
        if (
            (steps is not None and steps < 1)
            or (tokens is not None and tokens < 1)
            or (seconds is not None and seconds <= 0)
        ):
            return None
        return Limits(max_steps=steps, max_tool_calls=calls, max_tokens=tokens, max_seconds=seconds)


@dataclass(slots=True)
class _Heard:
    """What one attempt's run has told."""

    calls: list[CallRecord] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    happened: list[tuple[float, Event]] = field(default_factory=list)
    steps: int = 0
    end: RunFinished | None = None

    def note(self, event: Event) -> None:
        if not isinstance(event, _MANY):
            self.happened.append((time.monotonic(), event))
        match event:
            case ToolCallStarted():
                self.arguments[event.call_id] = event.arguments
            case ToolCallFinished():
                self.calls.append(
                    CallRecord(
                        name=event.name,
                        arguments=self.arguments.get(event.call_id, {}),
                        ok=event.ok,
                        content=event.content,
                        seconds=round(event.seconds, 3),
                        artifacts=tuple(artifact.name for artifact in event.artifacts),
                    )
                )
            case GuardrailChecked() if event.action != "allow":
                self.verdicts.append(f"{event.place}: {event.screen}: {event.action}: {event.reason}")
            case RunFinished():
                self.end = event
            case _ if event.type == "step_started":
                self.steps += 1


class TaskRun:
    """One run of a task with its inputs; iterate ``events`` once."""

    def __init__(self, spec: TaskSpec, inputs: Mapping[str, Any], setting: Setting) -> None:
        self.spec, self.inputs, self.setting = spec, dict(inputs), setting
        limit = spec.limits.seconds
        self._budget = _Budget(spec.limits, None if limit is None else time.monotonic() + limit)
        self._done: dict[str, StepResult] = {}
        self._conversation: Conversation | None = None
        self._instructions: str | None = None
        self._known_as = {name: tool.name for name, tool in setting.tools.items()}

    async def events(self) -> AsyncGenerator[Event | TaskEvent, None]:
        """Run to the end; the last event is TaskEnded, and no fault of model or tools is raised."""
        started = time.monotonic()
        for step in self.spec.steps:
            async with aclosing(self._step(step)) as events:
                async for event in events:
                    if isinstance(event, StepEnded):
                        self._done[step.id] = event.result
                    yield event
        yield TaskEnded(result=self._result(time.monotonic() - started))

    def _result(self, seconds: float) -> TaskResult:
        steps = tuple(self._done.values())
        status = worst([step.status for step in steps])
        error = next((f"{step.id}: {step.error}" for step in steps if step.error), None)
        output: Any = steps[-1].output
        if self.spec.result is not None and status == "ok":
            try:
                output = resolve(self.spec.result, self._names())
            except TaskError as fault:
                status, error, output = "error", f"result: {fault}", None
        return TaskResult(
            task=self.spec.name,
            status=status,
            inputs=_plain(self.inputs),
            output=_plain(output),
            steps=steps,
            error=error,
            usage=self._budget.usage,
            seconds=round(seconds, 3),
        )

    def _names(self) -> dict[str, Any]:
        steps = {
            step.id: {"output": step.output, "text": step.text, "tools": [call.name for call in step.calls]}
            for step in self._done.values()
            if step.status == "ok"
        }
        return {"inputs": self.inputs, "steps": steps}

    async def _step(self, step: Step) -> AsyncGenerator[Event | TaskEvent, None]:
        started = time.monotonic()
        unmet = [name for name in step.needs if self._done[name].status != "ok"]
        if unmet or self.setting.cancel.reason is not None:
            status: Status = "skipped" if unmet else "cancelled"
            why = f"{unmet[0]} did not succeed" if unmet else "the task was stopped"
            yield StepEnded(result=StepResult(id=step.id, status=status, error=why))
            return
        attempts: list[Attempt] = []
        result = StepResult(id=step.id, status="error")
        prompt, conversation = "", None
        try:
            prompt = self._prompt(step)
        except TaskError as error:
            yield StepEnded(result=result.model_copy(update={"error": str(error)}))
            return
        try:
            await self._instruct()
        except Exception as fault:
            reason, words = ending(fault, self.spec.name)
            update = {"status": _STATUS[reason], "error": words or "the task was stopped"}
            yield StepEnded(result=result.model_copy(update=update))
            return
        most = step.retry.attempts if step.retry else 1
        while len(attempts) < most:
            yield StepBegan(step=step.id, attempt=len(attempts) + 1, prompt=prompt)
            agent = self._agent(step, len(attempts))
            if agent is None:
                result = result.model_copy(
                    update={"status": "limit", "error": "the task's limits are used up"}
                )
                break
            conversation = conversation or self._conversation_for(step, agent)
            heard = _Heard()
            async with aclosing(
                agent.stream(prompt, conversation=conversation, cancel=self.setting.cancel)
            ) as events:
                async for event in events:
                    heard.note(event)
                    yield event
            result, attempt = await self._judged(step, prompt, heard, attempts)
            attempts.append(attempt)
            if result.status != "failed":
                break
            if step.retry and step.retry.feedback:
                prompt = _FEEDBACK.format(why=(result.error or "").rstrip("."))
            else:
                if step.conversation == "same" and conversation is not None:
                    conversation.undo()
                else:
                    conversation = None
        self._conversation = conversation or self._conversation
        seconds = round(time.monotonic() - started, 3)
        yield StepEnded(result=result.model_copy(update={"attempts": tuple(attempts), "seconds": seconds}))

    def _prompt(self, step: Step) -> str:
        text = render(step.prompt, self._names())
        return text if step.output is None else f"{text}{_SCHEMA}{json.dumps(step.output)}"

    async def _instruct(self) -> None:
        """Write the instructions. Where inputs stand in them, screens read them first, as they read a question."""
        template = self.spec.instructions
        if template is None or self._instructions is not None:
            return
        text, guards = render(template, self._names()), self.setting.guards
        if text != template and "input" in guards.places:
            outcome = await self.setting.cancel.guard(guards.check(ScreenInput("input", text)))
            if outcome.action not in ("allow", "replace"):
                raise Ended("blocked", why(outcome))
            text = outcome.text
        self._instructions = text

    def _agent(self, step: Step, attempt: int) -> Agent | None:
        limits = self._budget.left()
        if limits is None:
            return None
        setting, sampling = self.setting, self.setting.sampling
        if sampling.seed is not None:
            sampling = replace(sampling, seed=sampling.seed + attempt)
        offered = self.spec.tools if step.tools is None else step.tools
        rules = {self._known_as.get(name, name): _DECISIONS[how] for name, how in self.spec.approve.items()}
        return Agent(
            answering(setting.model, step.output),
            instructions=DEFAULT_INSTRUCTIONS if self._instructions is None else self._instructions,
            tools=[setting.tools[name] for name in offered],
            limits=limits,
            sampling=sampling,
            date=setting.date,
            # Nobody is there to ask: what no rule allows is refused, and the model is told.
            approve=ApprovalRules(rules, ask=lambda name, arguments: False),
            guards=setting.guards,
        )

    def _conversation_for(self, step: Step, agent: Agent) -> Conversation:
        if step.conversation == "same" and self._conversation is not None:
            return self._conversation
        return agent.conversation()

    async def _judged(
        self, step: Step, prompt: str, heard: _Heard, before: list[Attempt]
    ) -> tuple[StepResult, Attempt]:
        """The result so far, and the attempt with its checks."""
        end = heard.end
        assert end is not None
        self._budget.usage = add(self._budget.usage, end.usage)
        self._budget.steps += heard.steps
        attempt = Attempt(
            prompt=prompt,
            text=end.output,
            calls=tuple(heard.calls),
            stop_reason=end.stop_reason,
            error=end.error,
            verdicts=tuple(heard.verdicts),
            usage=end.usage,
            timeline=Timeline.of(heard.happened),
        )
        status = _STATUS[end.stop_reason]
        result = StepResult(id=step.id, status=status, output=end.output, text=end.output, error=end.error)
        if status != "ok":
            why = end.error or end.stop_reason.replace("_", " ")
            return result.model_copy(update={"error": why}), attempt
        checks: list[CheckResult] = []
        if step.output is not None:
            value, fault = read_output(end.output, step.output)
            checks.append(CheckResult(check="output", ok=fault is None, detail=fault or ""))
            result = result.model_copy(update={"output": value})
        if all(check.ok for check in checks):
            setting = self.setting
            judge = None if setting.judge is None else Judge(setting.judge, setting.cancel)
            checker = Checker(self._names(), setting.folder, self._known_as, judge)
            # What was called before the model was asked to correct itself counts too: it is in the conversation.
            goes_on = before if step.retry and step.retry.feedback else []
            calls = tuple(call for one in (*goes_on, attempt) for call in one.calls)
            seen = result.model_copy(update={"attempts": (attempt.model_copy(update={"calls": calls}),)})
            checks += [await checker.check(check, seen) for check in step.check]
        failed = [check.detail for check in checks if not check.ok]
        if failed:
            result = result.model_copy(update={"status": "failed", "error": "; ".join(failed)})
        return result, attempt.model_copy(update={"checks": tuple(checks)})


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else limit - used


def _plain(value: Any) -> Any:
    """Something that JSON can hold."""
    return json.loads(json.dumps(value, default=str))
