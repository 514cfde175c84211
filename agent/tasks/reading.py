"""Task files: YAML with the line of everything in it, so that errors say where."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from .errors import Problem, TaskError
from .spec import Check, Defaults, Input, NumberCheck, Retry, Step, TaskLimits, TaskSpec

MAX_FILE = 1_000_000  # bytes
Place = tuple[str | int, ...]


def read_spec(text: str, file: str) -> tuple[TaskSpec, dict[Place, int]]:
    """The task in a file's text, and the lines of its parts. Raises TaskError with every problem found."""
    values, lines = _values(text, file)
    try:
        return TaskSpec.model_validate(values), lines
    except ValidationError as error:
        raise failure(file, tuple(_problems(error, lines))) from None


def written(spec: TaskSpec) -> str:
    """The task as YAML that reads as the same task. Raises TaskError for what only Python can say."""
    try:
        values = {"version": spec.version, **spec.model_dump(mode="json", exclude_defaults=True)}
        for step, said in zip(spec.steps, values["steps"], strict=True):
            if step.check:  # of a check, the key that is given counts, whatever its value
                said["check"] = [check.model_dump(mode="json", exclude_unset=True) for check in step.check]
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
        line = mark.line + 1 if mark else 0
        raise failure(file, (Problem(line, "", f"not YAML: {said}{_hint(text, line)}"),)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise failure(file, (Problem(0, "", f"not YAML: {error}"),)) from None


def _hint(text: str, line: int) -> str:
    """What is likely to be wrong with a line that is no YAML."""
    lines = text.splitlines()
    wrong = lines[line - 1] if 0 < line <= len(lines) else ""
    if "\t" in wrong[: len(wrong) - len(wrong.lstrip())]:
        return "; indent with spaces, never with tabs"
    if re.search(r":\s+\{\{", wrong):
        return "; put a text that begins with {{ in quotes"
    if re.search(r":\s+[^\s'\"|>\[{].*:(\s|$)", wrong):
        return "; put a text with a colon in quotes, or begin it with | on a line of its own"
    return ""


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


def _problems(error: ValidationError, lines: dict[Place, int]) -> Iterator[Problem]:
    found = error.errors(include_url=False)
    for one in found:
        place: Place = tuple(one["loc"])
        # A list whose items are wrong is told to be empty as well.
        if one["type"] == "too_short" and any(
            other["loc"][: len(place)] == place != other["loc"] for other in found
        ):
            continue
        yield Problem(line_of(place, lines), _written(place), _said(one, place))


_SAID = {
    "missing": "is missing",
    "tuple_type": "must be a list, like [a, b]",
    "dict_type": "must be a mapping, of lines like name: value",
    "string_type": "must be a text; where it looks like something else, put it in quotes",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "may have letters, digits, _ and -, and begins with a letter",
    "too_short": "needs at least one",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
}


def _said(error: Any, place: Place) -> str:
    match error["type"]:
        case "extra_forbidden":
            return f"{place[-1]!r} is not known here{_closest(place)}"
        case "model_type":
            known = ", ".join(_home(place).model_fields)
            return f"must be a mapping, of lines like name: value; there are {known}"
        case kind if kind in _SAID:
            return _SAID[kind]
    message: str = error["msg"]
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def _closest(place: Place) -> str:
    known = _home(place[:-1]).model_fields
    close = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


_HOMES: dict[str | int, type[BaseModel]] = {
    "defaults": Defaults,
    "limits": TaskLimits,
    "retry": Retry,
    "number": NumberCheck,
    "check": Check,
    "inputs": Input,
    "steps": Step,
}


def _home(place: Place) -> type[BaseModel]:
    """The class whose keys stand at a place."""
    return next((_HOMES[part] for part in reversed(place) if part in _HOMES), TaskSpec)


def _written(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
