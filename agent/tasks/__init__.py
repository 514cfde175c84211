"""Scripted tasks: steps with typed inputs, checked answers and retries, one at a time or by the thousand rows."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import Problem, TaskError
    from .results import Attempt, CallRecord, CheckResult, StepResult, TaskEnded, TaskEvent, TaskResult
    from .spec import Check, Defaults, Input, NumberCheck, Retry, Step, TaskLimits
    from .task import Task

_HOME = {
    "errors": ("Problem", "TaskError"),
    "results": (
        "Attempt",
        "CallRecord",
        "CheckResult",
        "StepResult",
        "TaskEnded",
        "TaskEvent",
        "TaskResult",
    ),
    "spec": ("Check", "Defaults", "Input", "NumberCheck", "Retry", "Step", "TaskLimits"),
    "task": ("Task",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Attempt",
    "CallRecord",
    "Check",
    "CheckResult",
    "Defaults",
    "Input",
    "NumberCheck",
    "Problem",
    "Retry",
    "Step",
    "StepResult",
    "Task",
    "TaskEnded",
    "TaskError",
    "TaskEvent",
    "TaskLimits",
    "TaskResult",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
