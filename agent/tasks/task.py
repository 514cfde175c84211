"""A task that can be run: made in Python or read from a file, the same object."""

import hashlib
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import date as Date
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from arriero.safety.pipeline import Pipeline
from arriero.safety.policy import Policy
from arriero.tools import Tool
from arriero.tools.function import as_tool

from ..backends import Model, Sampling
from ..cancellation import CancellationToken
from ..events import Event
from ..guard_models import pipeline
from .errors import Problem, TaskError
from .judging import NO_JUDGE, SAME
from .reading import Place, failure, read_spec, written
from .results import TaskEnded, TaskEvent, TaskResult
from .running import Setting, TaskRun
from .spec import TaskSpec
from .templates import Placeholder, render
from .validating import meant, problems_of

Tools = Mapping[str, Tool | Callable[..., Any]]


class TypedInputs(dict[str, Any]):
    """Inputs that ``Task.read_inputs`` has read: they are taken as they are, wherever the task runs."""


class Task(TaskSpec):
    """A task with typed inputs, steps, checks and retries.

    ``Task.load("task.yaml")`` reads a file; ``Task(name=…, steps=[Step(…)])`` makes the same object in Python.
    Raises TaskError (``load``) or pydantic's ValidationError (the constructor); ``problems`` says what else would
    go wrong.
    """

    _folder: Path | None = PrivateAttr(default=None)
    _file: str = PrivateAttr(default="task")
    _lines: dict[Place, int] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Task":
        """Read and check a task file. Raises TaskError with every problem, each with its line."""
        file = Path(path)
        try:
            text = file.read_text("utf-8")
        except OSError as error:
            raise TaskError(f"{file}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise TaskError(f"{file}: is not text in UTF-8") from None
        return cls.parse(text, file=str(file), folder=file.absolute().parent)

    @classmethod
    def parse(cls, text: str, *, file: str = "task", folder: Path | None = None) -> "Task":
        """A task from YAML text. ``folder`` is where functions of checks may be; none without it."""
        spec, lines = read_spec(text, file)
        task = cls.model_validate(dict(spec))
        task._folder, task._file, task._lines = folder, file, lines
        if problems := task.problems():
            raise failure(file, problems)
        return task

    def to_yaml(self) -> str:
        """The task as a file says it: ``Task.parse`` of it has the same digest. Raises TaskError for functions."""
        return written(self)

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with it that the form cannot say: names that are not there, templates that do not parse."""
        return problems_of(self, self._lines, self._folder)

    @property
    def digest(self) -> str:
        """SHA-256 of what the task says, in hexadecimal: the same for the same task, wherever it was written."""
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True, fallback=repr), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def read_inputs(self, given: Mapping[str, Any]) -> TypedInputs:
        """Typed inputs with defaults filled in. Raises TaskError with everything that is wrong."""
        if isinstance(given, TypedInputs):
            return given
        unknown = [name for name in given if name not in self.inputs]
        problems = [f"there is no input {name!r}{meant(name, self.inputs)}" for name in unknown]
        values = TypedInputs()
        for name, wanted in self.inputs.items():
            value = given.get(name, wanted.default)
            if value is None:
                if wanted.is_required:
                    problems.append(f"the input {name!r} is missing; give it a value: {name}=…")
                values[name] = None
                continue
            try:
                values[name] = wanted.read(value)
            except ValueError as error:
                problems.append(f"the input {name!r} {error}")
        if problems:
            raise TaskError("; ".join(problems))
        return values

    @property
    def is_judged(self) -> bool:
        """Whether a check needs a judge."""
        return any(check.judge is not None for step in self.steps for check in step.check)

    def prompts(self, inputs: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Every step's prompt without running anything; what earlier steps will say is shown as «steps.…»."""
        names = {
            "inputs": self.read_inputs(inputs or {}),
            "steps": {step.id: Placeholder(f"steps.{step.id}") for step in self.steps},
        }
        return {step.id: render(step.prompt, names) for step in self.steps}

    def functions(self) -> dict[str, bytes]:
        """The files whose functions its checks call, by name. Raises TaskError."""
        named = {check.python.partition("::")[0] for step in self.steps for check in step.check
                 if isinstance(check.python, str)}  # fmt: skip
        try:
            return {name: (self._folder / name).read_bytes() for name in named} if self._folder else {}
        except OSError as error:
            raise TaskError(f"{error.filename}: {error.strerror}") from None

    def moved(self, folder: Path) -> "Task":
        """The same task, with the functions of its checks in another folder."""
        task = self.model_copy()
        task._folder, task._file, task._lines = folder, self._file, self._lines
        return task

    async def stream(
        self,
        model: Model,
        inputs: Mapping[str, Any] | None = None,
        *,
        tools: Tools | None = None,
        judge: Model | None = None,
        sampling: Sampling | None = None,
        guards: Pipeline | Policy | str | None = "default",
        date: Date | str | None = None,
        cancel: CancellationToken | None = None,
    ) -> AsyncGenerator[Event | TaskEvent, None]:
        """Run, and yield the events of its runs and its own; the last is TaskEnded.

        ``tools`` are those that the task names, by the names that it has for them. ``judge`` decides checks by a
        rubric; with ``judge: same`` in the task's defaults the model does. ``sampling`` takes the place
        of the task's defaults; ``guards`` are as an Agent takes them. Raises TaskError before anything runs:
        problems, inputs, tools or a judge that are missing.
        """
        if problems := self.problems():
            raise failure(self._file, problems)
        judge = judge or (model if self.defaults.judge == SAME else None)
        if judge is None and self.is_judged:
            raise TaskError(NO_JUDGE)
        setting = Setting(
            model=model,
            tools=self._tools(tools or {}),
            sampling=sampling or self.sampling(),
            guards=guards if isinstance(guards, Pipeline) else pipeline(guards or "off"),
            date=date,
            folder=self._folder,
            cancel=CancellationToken(cancel),
            judge=judge,
        )
        run = TaskRun(self, self.read_inputs(inputs or {}), setting)
        try:
            async with aclosing(run.events()) as events:
                async for event in events:
                    yield event
        finally:
            setting.cancel.detach()
            if not isinstance(guards, Pipeline):
                await setting.guards.aclose()

    async def run(self, model: Model, inputs: Mapping[str, Any] | None = None, **options: Any) -> TaskResult:
        """Run to the end; ``options`` are those of ``stream``. What failed is in the result, not raised."""
        async with aclosing(self.stream(model, inputs, **options)) as events:
            async for event in events:
                if isinstance(event, TaskEnded):
                    return event.result
        raise AssertionError("a task always ends with TaskEnded")

    def sampling(self, base: Sampling | None = None) -> Sampling:
        """How tokens are chosen, by the task's defaults."""
        from dataclasses import replace

        given = self.defaults.model_dump(include={"seed", "temperature", "top_p"}, exclude_none=True)
        return replace(base or Sampling(), **given)

    def _tools(self, given: Tools) -> dict[str, Tool]:
        missing = [name for name in self.tools if name not in given]
        if missing:
            raise TaskError(
                f"the task needs the tool {', '.join(missing)}; there are: {', '.join(given) or 'none'}"
            )
        return as_tools({name: given[name] for name in self.tools})


def as_tools(given: Tools) -> dict[str, Tool]:
    """The tools, with functions made into tools."""
    return {name: tool if isinstance(tool, Tool) else as_tool(tool) for name, tool in given.items()}
