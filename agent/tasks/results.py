"""What came of a task: of each step, of its checks, and of the whole."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..events import Usage
from ..timeline import Timeline

Status = Literal["ok", "failed", "limit", "blocked", "error", "cancelled", "skipped"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CallRecord(_Frozen):
    """One call of a tool; ``content`` is what the model read."""

    name: str
    arguments: dict[str, Any]
    ok: bool
    content: str
    seconds: float
    artifacts: tuple[str, ...] = ()


class CheckResult(_Frozen):
    """One check, and why it failed."""

    check: str
    ok: bool
    detail: str = ""


class Attempt(_Frozen):
    """One time that a step was tried."""

    prompt: str
    text: str
    calls: tuple[CallRecord, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    stop_reason: str = ""
    error: str | None = None
    verdicts: tuple[str, ...] = ()
    """What screens said, where they did not just let pass."""
    usage: Usage = Usage()
    timeline: Timeline = Timeline()
    """Where the time went."""


class StepResult(_Frozen):
    """A step: ``output`` is the answer's data if the step has a schema, else its text."""

    id: str
    status: Status
    output: Any = None
    text: str = ""
    attempts: tuple[Attempt, ...] = ()
    error: str | None = None
    seconds: float = 0.0

    @property
    def calls(self) -> tuple[CallRecord, ...]:
        """The calls of the last attempt."""
        return self.attempts[-1].calls if self.attempts else ()

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """The checks of the last attempt."""
        return self.attempts[-1].checks if self.attempts else ()


class TaskResult(_Frozen):
    """A whole task: ``ok`` if every step is."""

    task: str
    status: Status
    inputs: dict[str, Any]
    output: Any = None
    steps: tuple[StepResult, ...] = ()
    error: str | None = None
    usage: Usage = Usage()
    seconds: float = 0.0


class StepBegan(_Frozen):
    """A step is tried; ``attempt`` counts from 1."""

    type: Literal["task_step_began"] = "task_step_began"
    step: str
    attempt: int
    prompt: str


class StepEnded(_Frozen):
    """A step is done with, one way or another."""

    type: Literal["task_step_ended"] = "task_step_ended"
    result: StepResult


class TaskEnded(_Frozen):
    """The last event of a task."""

    type: Literal["task_ended"] = "task_ended"
    result: TaskResult


TaskEvent = Annotated[StepBegan | StepEnded | TaskEnded, Field(discriminator="type")]


def add(one: Usage, other: Usage) -> Usage:
    """Two usages as one."""
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in type(one).model_fields})


def worst(statuses: list[Status]) -> Status:
    """The status of a whole with such parts."""
    order: tuple[Status, ...] = ("cancelled", "error", "blocked", "limit", "failed", "skipped")
    return next((status for status in order if status in statuses), "ok")
