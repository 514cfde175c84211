"""Answers of a given form: a type that pydantic knows, what the model is told of it, and how its text is read."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from arriero.prompts import ArrieroError, ToolSpec
from arriero.prompts.parser import parse

if TYPE_CHECKING:
    pass

T_co = TypeVar("T_co", covariant=True)

_TOLD = "Answer with one JSON document that fits this JSON schema, and with nothing else:\n{schema}"
_FENCE = re.compile(r"\s*```[\w+\-.]*\s*\n(?P<body>.*?)\n?\s*```\s*", re.DOTALL)
_NOTES = frozenset({"title", "default", "examples"})


class OutputError(ArrieroError):
    """An answer has not the form that was asked for, or no model can be asked for that form."""


class Output(Generic[T_co]):
    """The form of an answer: ``kind`` is a pydantic model, a dataclass, or any other type that pydantic adapts.

    Raises OutputError for a type that pydantic does not know, or whose documents would be read as calls.
    """

    def __init__(self, kind: type[T_co]) -> None:
        from pydantic import PydanticUserError, TypeAdapter

        try:
            self._adapter: TypeAdapter[T_co] = TypeAdapter(kind)
            self.schema: Mapping[str, Any] = self._adapter.json_schema()
        except (PydanticUserError, TypeError) as error:
            raise OutputError(f"{kind!r} cannot be the type of an answer: {error}") from error
        if _reads_as_call(self.schema):
            raise OutputError(
                f"a document of {kind!r} would be read as a tool call, since it has a name and parameters; "
                "rename a field, or give it an alias"
            )

    @property
    def instructions(self) -> str:
        """What the model is told, to stand behind the instructions."""
        return _TOLD.format(schema=json.dumps(_brief(self.schema), ensure_ascii=False))

    def read(self, text: str) -> T_co:
        """The answer as an object; a fence around it is no part of it. Raises OutputError."""
        from pydantic import ValidationError

        fenced = _FENCE.fullmatch(text)
        try:
            return self._adapter.validate_json((fenced.group("body") if fenced else text).strip())
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else one["msg"]
                for one in error.errors(include_url=False, include_input=False)[:5]
            ]
            raise OutputError("; ".join(problems)[:1000]) from error

    def problem(self, text: str) -> str | None:
        """Why the text cannot be read; None if it can."""
        try:
            self.read(text)
        except OutputError as error:
            return str(error)
        return None


def _reads_as_call(schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        return False
    sample = json.dumps({key: {} for key in properties} | ({"name": "x"} if "name" in properties else {}))
    return bool(parse(sample, [ToolSpec(name="x")]).calls)


def _brief(schema: Any) -> Any:
    """The schema without what only people read."""
    if isinstance(schema, dict):
        return {
            key: {name: _brief(one) for name, one in value.items()}
            if key in ("properties", "$defs")
            else _brief(value)
            for key, value in schema.items()
            if key not in _NOTES
        }
    if isinstance(schema, list):
        return [_brief(one) for one in schema]
    return schema
