"""A task as it is written: inputs, steps, checks. The same objects whether from a YAML file or made in Python."""

import re
from collections.abc import Callable
from datetime import date as Date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from .errors import TaskError

FORMAT = 1
MAX_FILE = 2_000_000  # bytes of an input of the type ``file``

_NAME = r"^[A-Za-z_][A-Za-z0-9_-]*$"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Input(_Strict):
    """A value that the task is given: a ``file`` is a path in and the file's text out."""

    type: Literal["str", "int", "float", "bool", "date", "file", "choice"] = "str"
    default: Any = None
    required: bool | None = None
    """Default: required unless there is a default."""
    choices: tuple[str, ...] = ()
    description: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Input":
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("choices belong to the type choice, and it needs them")
        if self.default is not None:
            self.read(self.default, check_files=False)
        return self

    @property
    def is_required(self) -> bool:
        return self.default is None if self.required is None else self.required

    def read(self, value: Any, *, check_files: bool = True) -> Any:
        """The value as this type, from a text or from JSON. Raises ValueError."""
        match self.type:
            case "bool":
                return _bool(value)
            case "int" | "float":
                return _number(value, whole=self.type == "int")
            case "date":
                return value if isinstance(value, Date) else Date.fromisoformat(str(value))
            case "choice":
                if str(value) not in self.choices:
                    raise ValueError(f"must be one of {', '.join(self.choices)}, not {value!r}")
                return str(value)
            case "file":
                return _file_text(Path(str(value))) if check_files else str(value)
            case _:
                if isinstance(value, (dict, list)):
                    raise ValueError("must be a text")
                return str(value)


class NumberCheck(_Strict):
    """The answer's number: the output if it is one, else the last number in the text."""

    equals: float | str
    within: float = 0.0


class Check(_Strict):
    """One condition that a step's answer must meet; exactly one key is given.

    ``equals`` compares the output (or the text, if the step has no schema); ``contains`` and ``matches`` look at
    the text; ``tool_…`` at the calls; ``expr`` is an expression over output, text, tools, usage, inputs and steps;
    ``python`` is ``file.py::function`` beside the task's file, or a function: called with the StepResult, it
    returns None or True, or what is wrong. ``judge`` is a rubric, by which the judge of the task's defaults decides.
    """

    equals: Any = None
    contains: str | tuple[str, ...] | None = None
    matches: str | None = None
    number: NumberCheck | None = None
    json_schema: dict[str, Any] | None = None
    tool_called: str | None = None
    tool_not_called: str | None = None
    tool_order: tuple[str, ...] | None = None
    max_tool_calls: int | None = Field(default=None, ge=0)
    file_exists: str | None = None
    expr: str | None = None
    python: str | SkipJsonSchema[Callable[..., Any]] | None = None
    judge: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_key(self) -> "Check":
        if len(self.model_fields_set) != 1:
            raise ValueError(f"a check has exactly one of {', '.join(type(self).model_fields)}")
        if self.matches is not None and "{{" not in self.matches:
            try:
                re.compile(self.matches)
            except re.error as error:
                raise ValueError(f"{self.matches!r} is no regular expression: {error}") from None
        if self.expr is not None:
            from .expression import parse

            try:
                parse(self.expr)
            except TaskError as error:
                raise ValueError(str(error)) from None
        return self

    @property
    def kind(self) -> str:
        """The key that is given."""
        return next(iter(self.model_fields_set))


class Retry(_Strict):
    """What happens when a check fails: ``attempts`` in all; with ``feedback`` the model is told what was wrong and
    goes on in the conversation, else it begins anew with the next seed.
    """

    attempts: int = Field(default=3, ge=1, le=20)
    feedback: bool = True


class Step(_Strict):
    """One question to the model. ``output`` is the JSON schema that the answer must fit. ``needs`` names steps
    whose results the prompt uses. ``conversation: same`` goes on after the step before.
    """

    id: str = Field(pattern=_NAME)
    prompt: str
    needs: tuple[str, ...] = ()
    tools: tuple[str, ...] | None = None
    output: dict[str, Any] | None = None
    check: tuple[Check, ...] = ()
    retry: Retry | None = None
    conversation: Literal["new", "same"] = "new"

    @model_validator(mode="after")
    def _schema(self) -> "Step":
        if self.output is not None:
            from jsonschema.exceptions import SchemaError
            from jsonschema.validators import validator_for

            try:
                validator_for(self.output).check_schema(self.output)
            except SchemaError as error:
                raise ValueError(f"output is no JSON schema: {error.message}") from None
        return self


class Defaults(_Strict):
    """What holds unless the caller says otherwise. ``model`` is a name as the command line takes it; ``judge`` too,
    or ``same``: the model that answers.
    """

    model: str | None = None
    judge: str | None = None
    seed: int | None = Field(default=None, ge=0)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)


class TaskLimits(_Strict):
    """Bounds of the whole task: model calls, tool calls, sampled tokens, seconds."""

    steps: int | None = Field(default=50, ge=1)
    tool_calls: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0)


class TaskSpec(_Strict):
    """A whole task, without the ways to run it. ``approve`` decides calls that need approval, by patterns of tool
    names: ``always`` or ``never``; what matches none is never run. ``result`` is a template for the task's own
    output; by default it is that of the last step.
    """

    version: Literal[1] = 1
    name: str = Field(pattern=_NAME)
    description: str = ""
    inputs: dict[str, Input] = Field(default_factory=dict)
    defaults: Defaults = Defaults()
    instructions: str | None = None
    tools: tuple[str, ...] = ()
    limits: TaskLimits = TaskLimits()
    approve: dict[str, Literal["always", "never"]] = Field(default_factory=dict)
    steps: tuple[Step, ...] = Field(min_length=1)
    result: Any = None


def _bool(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if str(value).strip().lower() not in words:
        raise ValueError(f"must be true or false, not {value!r}")
    return words[str(value).strip().lower()]


def _number(value: Any, *, whole: bool) -> int | float:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    try:
        number = float(value)
        if whole and number != int(number):
            raise ValueError
        return int(value) if whole and not isinstance(value, float) else int(number) if whole else number
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"must be a {'whole ' if whole else ''}number, not {value!r}") from None


def _file_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise ValueError(f"{path} is larger than {MAX_FILE / 1e6:g} MB")
        return path.expanduser().read_text("utf-8")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8") from None
