"""Task files: YAML with the line of everything in it, so that errors say where."""

from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from .errors import Problem, TaskError
from .spec import TaskSpec

MAX_FILE = 1_000_000  # bytes
Place = tuple[str | int, ...]


def read_spec(text: str, file: str) -> tuple[TaskSpec, dict[Place, int]]:
    """The task in a file's text, and the lines of its parts. Raises TaskError with every problem found."""
    values, lines = _values(text, file)
    try:
        return TaskSpec.model_validate(values), lines
    except ValidationError as error:
        problems = tuple(_problem(one, lines) for one in error.errors(include_url=False))
        raise failure(file, problems) from None


def written(spec: TaskSpec) -> str:
    """The task as YAML that reads as the same task. Raises TaskError for what only Python can say."""
    try:
        values = spec.model_dump(mode="json", exclude_unset=True)
    except PydanticSerializationError as error:
        raise TaskError(
            f"the task {spec.name} cannot be written: {error}; put functions into a file"
        ) from None
    text: str = yaml.dump(values, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=100)
    return text


class _Writer(yaml.SafeDumper):
    """Writes texts of several lines as such, and nothing by reference, which task files do not read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(writer: _Writer, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Writer.add_representer(str, _text)


def failure(file: str, problems: tuple[Problem, ...]) -> TaskError:
    """The error for a file with problems; its text has one line each."""
    return TaskError("\n".join(problem.at(file) for problem in problems), problems)


def line_of(place: Place, lines: dict[Place, int]) -> int:
    """The line of a place, or of the nearest thing around it."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _values(text: str, file: str) -> tuple[Any, dict[Place, int]]:
    if len(text) > MAX_FILE:
        raise failure(file, (Problem(0, "", f"a task file may have {MAX_FILE / 1e6:g} MB"),))
    try:
        # Aliases could stand for more than any memory holds.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            said = "aliases (*name) are not used in task files; write it out"
            raise failure(file, (Problem(0, "", said),))
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise failure(file, (Problem(1, "", "a task file is a mapping: version, name, steps, …"),))
        lines: dict[Place, int] = {}
        problems = tuple(_walk(node, (), lines))
        if problems:
            raise failure(file, problems)
        return yaml.safe_load(text), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = f"{error.context or ''} {error.problem or ''}".strip()
        raise failure(file, (Problem(mark.line + 1 if mark else 0, "", f"not YAML: {said}"),)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise failure(file, (Problem(0, "", f"not YAML: {error}"),)) from None


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int]) -> Iterator[Problem]:
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _walk(item, (*place, number), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*place, str(key.value))
            if below in lines:
                yield Problem(key.start_mark.line + 1, _written(place), f"{key.value!r} is there twice")
            lines[below] = key.start_mark.line + 1
            yield from _walk(value, below, lines)


def _problem(error: Any, lines: dict[Place, int]) -> Problem:
    place: Place = tuple(error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"{place[-1]!r} is not known here"
        message += _closest(place)
    return Problem(line_of(place, lines), _written(place), message)


def _closest(place: Place) -> str:
    import difflib

    from .spec import Check, Defaults, Input, Retry, Step, TaskLimits

    homes: dict[str | int, type[BaseModel]] = {
        "defaults": Defaults,
        "limits": TaskLimits,
        "retry": Retry,
        "check": Check,
        "inputs": Input,
        "steps": Step,
    }
    home: type[BaseModel] = next((homes[part] for part in reversed(place[:-1]) if part in homes), TaskSpec)
    close = difflib.get_close_matches(str(place[-1]), home.model_fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(home.model_fields)}"


def _written(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
