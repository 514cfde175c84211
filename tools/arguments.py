"""Checks a call's arguments against the tool's JSON schema before anything runs."""

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from arriero.prompts import ToolSpec

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


class _Schema:
    """A schema as a key: it is the object itself, and not what is in it."""

    __slots__ = ("schema",)

    def __init__(self, schema: Any) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Schema) and other.schema is self.schema

    def __hash__(self) -> int:
        return id(self.schema)


@lru_cache(maxsize=512)
def _validator(key: _Schema) -> "Validator":
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(json.dumps(key.schema, default=str)))


def argument_error(spec: ToolSpec, arguments: dict[str, Any]) -> str | None:
    """None if ``arguments`` fit the spec, else one sentence for the model that says which do not and why."""
    validator = _validator(_Schema(spec.parameters))
    if validator.is_valid(arguments):
        return None
    problems = sorted(validator.iter_errors(arguments), key=lambda error: list(map(str, error.path)))
    written = []
    for problem in problems[:5]:
        place = ".".join(map(str, problem.path))
        message = problem.message if len(problem.message) <= 200 else problem.message[:200] + "…"
        written.append(f"{place}: {message}" if place else message)
    expected = json.dumps(spec.parameters.get("properties", {}), ensure_ascii=False)
    return f"Invalid arguments for {spec.name}: {'; '.join(written)}. Expected parameters: {expected[:1000]}"


def given(spec: ToolSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without those that say null where the tool takes no null and does not require them.

    Models write null for what they mean to leave out; then the tool's own default holds.
    """
    properties = spec.parameters.get("properties")
    required = spec.parameters.get("required", ())
    if None not in arguments.values() or not isinstance(properties, dict):
        return arguments
    return {
        name: value
        for name, value in arguments.items()
        if value is not None or name in required or name not in properties or _takes_null(properties[name])
    }


def _takes_null(schema: Any) -> bool:
    try:
        return bool(_validator(_Schema(schema)).is_valid(None))
    except Exception:
        # A schema that is wrong, or refers to another place: what it would say of null is not known here.
        return True
