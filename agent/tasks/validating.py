"""What the form of a task cannot say: names that must exist, and an order in which steps can run."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import Problem
from .reading import Place, line_of
from .spec import TaskSpec
from .templates import faults, used


def problems_of(spec: TaskSpec, lines: dict[Place, int], folder: Path | None) -> tuple[Problem, ...]:
    """Everything that would go wrong for a reason that can be known before."""
    found = [*_steps(spec), *_templates(spec), *_tools(spec), *_functions(spec, folder)]
    return tuple(
        Problem(line_of(place, lines) + more, _named(spec, place), message) for place, more, message in found
    )


Found = tuple[Place, int, str]
RESULT = ("output", "text", "tools")
"""What templates may use of a step."""


def _steps(spec: TaskSpec) -> Iterator[Found]:
    before: set[str] = set()
    all_ids = [step.id for step in spec.steps]
    for number, step in enumerate(spec.steps):
        place: Place = ("steps", number)
        if step.id in before:
            yield (*place, "id"), 0, f"a step before is called {step.id!r} too"
        for needed in step.needs:
            if needed == step.id:
                yield (*place, "needs"), 0, f"{needed!r} is the step itself"
            elif needed not in before:
                why = (
                    "stands after it; put it before"
                    if needed in all_ids
                    else f"is no step{meant(needed, all_ids)}"
                )
                yield (*place, "needs"), 0, f"{needed!r} {why}"
        if step.conversation == "same" and number == 0:
            yield (*place, "conversation"), 0, "the first step has no conversation to go on with"
        before.add(step.id)


def _templates(spec: TaskSpec) -> Iterator[Found]:
    asked_inputs: set[str] = set()
    whole = False
    ids = [step.id for step in spec.steps]
    for place, template, needs in _texts(spec):
        for line, message in faults(template):
            yield place, line, f"template: {message}"
        for line, root, keys in used(template):
            if root == "inputs":
                whole = whole or not keys
                asked_inputs.update(keys[:1])
                if keys and keys[0] not in spec.inputs:
                    yield place, line, f"there is no input {keys[0]!r}{meant(keys[0], spec.inputs)}"
            elif root == "steps":
                if why := _misused(keys, needs, ids):
                    yield place, line, f"steps.{'.'.join(keys[:2])} is used: {why}"
            else:
                yield place, line, f"{root!r} is not known; there are inputs and steps"
    for name in spec.inputs:
        in_code = any(f"inputs.{name}" in (check.expr or "") for step in spec.steps for check in step.check)
        if not whole and name not in asked_inputs and not in_code:
            yield ("inputs", name), 0, f"the input {name!r} is never used"


def _misused(keys: tuple[str, ...], needs: set[str], ids: list[str]) -> str | None:
    """Why a step's result cannot be used like this."""
    if not keys:
        return None
    if keys[0] not in ids:
        return f"{keys[0]!r} is no step{meant(keys[0], ids)}"
    if keys[0] not in needs:
        return f"put {keys[0]!r} into needs"
    if len(keys) > 1 and keys[1] not in RESULT:
        return f"a step has {', '.join(RESULT)}{meant(keys[1], RESULT)}"
    return None


def _texts(spec: TaskSpec) -> Iterator[tuple[Place, str, set[str]]]:
    """Every template of the task, where it stands, and the steps whose results it may use."""
    for number, step in enumerate(spec.steps):
        needs = set(step.needs)
        yield ("steps", number, "prompt"), step.prompt, needs
        for place, check in enumerate(step.check):
            here: Place = ("steps", number, "check", place)
            given = check.model_dump(exclude={"python", "json_schema", "expr"}, exclude_unset=True)
            for text in _strings(given):
                yield here, text, needs
    if spec.instructions:
        yield ("instructions",), spec.instructions, set()
    for text in _strings(spec.result):
        yield ("result",), text, {step.id for step in spec.steps}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _tools(spec: TaskSpec) -> Iterator[Found]:
    for number, step in enumerate(spec.steps):
        for name in step.tools or ():
            if name not in spec.tools:
                yield (
                    ("steps", number, "tools"),
                    0,
                    f"{name!r} is not among the task's tools{meant(name, spec.tools)}",
                )
        offered = spec.tools if step.tools is None else step.tools
        for place, check in enumerate(step.check):
            named = [check.tool_called] if check.tool_called else list(check.tool_order or ())
            for name in named:
                if name not in offered:
                    said = f"{name!r} can never be called: the step has no such tool{meant(name, offered)}"
                    yield ("steps", number, "check", place), 0, said


def _functions(spec: TaskSpec, folder: Path | None) -> Iterator[Found]:
    for number, step in enumerate(spec.steps):
        for place, check in enumerate(step.check):
            if isinstance(check.python, str) and (why := function_fault(check.python, folder)):
                yield ("steps", number, "check", place), 0, why


def function_fault(named: str, folder: Path | None) -> str | None:
    """Why ``file.py::function`` cannot be used; None if the file is there."""
    file, colons, function = named.partition("::")
    if not colons or not function.isidentifier() or not file.endswith(".py"):
        return f"{named!r} should be like checks.py::function"
    if folder is None:
        return "a function in a file can be named only by a task that is in a file too"
    path = (folder / file).resolve()
    if not path.is_relative_to(folder.resolve()):
        return f"{file} is outside of the task's own folder"
    return None if path.is_file() else f"there is no {file} beside the task"


def _named(spec: TaskSpec, place: Place) -> str:
    if len(place) >= 2 and place[0] == "steps" and isinstance(place[1], int):
        rest = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place[2:])
        return f"step {spec.steps[place[1]].id}{rest}"
    return ".".join(map(str, place))


def meant(name: str, known: Any) -> str:
    """A question for the word that was meant, to be put behind a complaint; empty where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
