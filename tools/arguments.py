"""Checks a call's arguments against the tool's JSON schema before anything runs."""

import json
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

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


_SCALARS: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (float, int),
    "boolean": (bool,),
}
_SAYS_NOTHING: Final = frozenset({"title", "description", "default", "examples", "$comment"})
_OF_OBJECTS: Final = _SAYS_NOTHING | {"type", "properties", "required", "additionalProperties", "$defs"}


class _Checks:
    """The checks of one schema: the usual case, scalars that fit, needs no validator and not even its import."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._scalars = _scalars(schema)
        self._required = () if self._scalars is None else tuple(schema.get("required", ()))

    def fit(self, arguments: dict[str, Any]) -> bool:
        """Whether the arguments are what the schema asks for."""
        return self._plainly_fit(arguments) or bool(self.validator.is_valid(arguments))

    @cached_property
    def validator(self) -> "Validator":
        """Says everything about a value that the schema says of it."""
        from jsonschema import Draft202012Validator

        return Draft202012Validator(json.loads(json.dumps(self._schema, default=str)))

    def _plainly_fit(self, arguments: dict[str, Any]) -> bool:
        scalars = self._scalars
        if scalars is None:
            return False
        for name, value in arguments.items():
            if type(value) not in scalars.get(name, ()):
                return False
        return all(map(arguments.__contains__, self._required))


def _scalars(schema: Any) -> dict[str, tuple[type, ...]] | None:
    """The parameters that a schema wants to be of a scalar type and nothing else; None where it says more."""
    if not isinstance(schema, dict) or not schema.keys() <= _OF_OBJECTS or schema.get("type") != "object":
        return None
    properties = schema.get("properties", {})
    if not isinstance(properties, dict) or not isinstance(schema.get("required", []), list):
        return None
    return {
        name: _SCALARS[kind["type"]]
        for name, kind in properties.items()
        if isinstance(kind, dict)
        and isinstance(kind.get("type"), str)
        and kind["type"] in _SCALARS
        and kind.keys() - {"type"} <= _SAYS_NOTHING
    }


@lru_cache(maxsize=512)
def _checks(key: _Schema) -> _Checks:
    return _Checks(key.schema)


def argument_error(spec: ToolSpec, arguments: dict[str, Any]) -> str | None:
    """None if ``arguments`` fit the spec, else one sentence for the model that says which do not and why."""
    checks = _checks(_Schema(spec.parameters))
    if checks.fit(arguments):
        return None
    problems = sorted(checks.validator.iter_errors(arguments), key=lambda error: list(map(str, error.path)))
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
    if None not in arguments.values():
        return arguments
    properties = spec.parameters.get("properties")
    required = spec.parameters.get("required", ())
    if not isinstance(properties, dict):
        return arguments
    return {
        name: value
        for name, value in arguments.items()
        if value is not None or name in required or name not in properties or _takes_null(properties[name])
    }


def _takes_null(schema: Any) -> bool:
    try:
        return bool(_checks(_Schema(schema)).validator.is_valid(None))
    except Exception:
        # A schema that is wrong, or refers to another place: what it would say of null is not known here.
        return True
