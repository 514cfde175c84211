"""Arguments brought to the types that a tool's JSON schema asks for.

Llama 3.1 writes numbers, booleans, lists and dicts as strings (``"5"``, ``"True"``, ``"[3, 4]"``, ``"{'a': 1}"``);
undone by the schema, that is the largest single gain measured on its real outputs.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .parsing.literals import LiteralError, finite, json_value, literal

_INTEGER = re.compile(r"[+-]?\d{1,4000}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_MAX_DEPTH = 100
_STEPS_PER_NODE = 64
_UNCHANGED: Any = object()

Schema = Mapping[str, Any]


def coerce_arguments(arguments: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Return the arguments with every value that does not fit the schema brought to a type that it allows.

    What fits stays as it is, and so does what cannot be brought to fit: validation is somebody else's work.
    ``schema`` is the JSON schema of the whole argument object; ``$ref`` is followed inside it only.
    Nothing is modified in place; the cost is linear in the arguments.
    """
    if _all_plainly_fit(arguments, schema):
        return arguments
    work = _Coercion(schema, _STEPS_PER_NODE * (16 + _size(arguments)))
    result = work.coerce(arguments, schema, 0)
    return result if isinstance(result, dict) else arguments


def _size(value: Any) -> int:
    count, stack = 0, [value]
    while stack:
        node = stack.pop()
        count += 1
        if isinstance(node, dict):
            stack.extend(node.values())
        elif isinstance(node, list | tuple):
            stack.extend(node)
        elif isinstance(node, str) and node[:1] in ("[", "{", "("):
            count += len(node)
    return count


class _Coercion:
    """One walk over the arguments; ``budget`` bounds schemas that branch at every level."""

    def __init__(self, root: Schema, budget: int) -> None:
        self.root = root
        self.budget = budget

    def coerce(self, value: Any, schema: Any, depth: int) -> Any:
        self.budget -= 1
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or self.budget < 0:
            return value
        if _plainly_fits(value, schema):
            return value
        schema = self._resolve(schema)
        for part in _list(schema.get("allOf")):
            value = self.coerce(value, part, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if branches := _list(schema.get(keyword)):
                value = self._branches(value, branches, depth)
        types = _types(schema)
        value = self._to_types(value, types, schema)
        if isinstance(value, dict):
            return self._object(value, schema, depth)
        if isinstance(value, list | tuple):
            return self._array(value, schema, depth)
        return value

    def _resolve(self, schema: Schema) -> Schema:
        for _ in range(16):
            ref = schema.get("$ref")
            if not isinstance(ref, str) or not ref.startswith("#"):
                return schema
            target: Any = self.root
            for key in ref[1:].strip("/").split("/") if len(ref) > 1 else ():
                target = (
                    target.get(key.replace("~1", "/").replace("~0", "~"))
                    if isinstance(target, Mapping)
                    else None
                )
            if not isinstance(target, Mapping):
                return schema
            schema = target
        return schema

    def _branches(self, value: Any, branches: Sequence[Any], depth: int) -> Any:
        if any(self.fits(value, branch, depth) for branch in branches):
            return value
        for branch in sorted(branches, key=self._is_string):
            changed = self.coerce(value, branch, depth + 1)
            if self.fits(changed, branch, depth):
                return changed
        return value

    def _is_string(self, branch: Any) -> bool:
        return isinstance(branch, Mapping) and _types(self._resolve(branch)) == ["string"]

    def _to_types(self, value: Any, types: Sequence[str], schema: Schema) -> Any:
        options = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if isinstance(value, str) and isinstance(options, list) and value not in options:
            return _option(value, options)
        if not types or any(_has_type(value, kind) for kind in types):
            return (
                int(value)
                if isinstance(value, float) and "integer" in types and "number" not in types
                else value
            )
        for kind in _ORDER:
            if kind in types and (changed := _CONVERTERS[kind](value)) is not _UNCHANGED:
                return changed
        return value

    def _object(self, value: dict[str, Any], schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        rest = schema.get("additionalProperties")
        if not properties and not isinstance(rest, Mapping):
            return value
        return {key: self.coerce(item, properties.get(key, rest), depth + 1) for key, item in value.items()}

    def _array(self, value: Sequence[Any], schema: Schema, depth: int) -> Any:
        first, rest = _list(schema.get("prefixItems")), schema.get("items")
        if not first and not isinstance(rest, Mapping):
            return value
        return [
            self.coerce(item, first[i] if i < len(first) else rest, depth + 1) for i, item in enumerate(value)
        ]

    def fits(self, value: Any, schema: Any, depth: int) -> bool:
        """Whether the value has the types that the schema asks for, all the way down."""
        self.budget -= 1
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or self.budget < 0:
            return schema is not False
        schema = self._resolve(schema)
        types = _types(schema)
        if types and not any(_has_type(value, kind) for kind in types):
            return False
        if "enum" in schema and not any(_same(value, option) for option in _list(schema["enum"])):
            return False
        if "const" in schema and not _same(value, schema["const"]):
            return False
        for keyword in ("anyOf", "oneOf"):
            branches = _list(schema.get(keyword))
            if branches and not any(self.fits(value, branch, depth + 1) for branch in branches):
                return False
        if isinstance(value, dict):
            return self._object_fits(value, schema, depth)
        if isinstance(value, list | tuple) and isinstance(schema.get("items"), Mapping):
            return all(self.fits(item, schema["items"], depth + 1) for item in value)
        return True

    def _object_fits(self, value: dict[str, Any], schema: Schema, depth: int) -> bool:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        if any(name not in value for name in _list(schema.get("required"))):
            return False
        rest = schema.get("additionalProperties", True)
        return all(self.fits(item, properties.get(key, rest), depth + 1) for key, item in value.items())


def _all_plainly_fit(arguments: dict[str, Any], schema: Schema) -> bool:
    """The usual case: scalars of the types that the tool's parameters have."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not schema.keys() <= _PLAIN:
        return False
    for name, value in arguments.items():
        known = properties.get(name)
        if not isinstance(known, dict) or not _plainly_fits(value, known):
            return False
    return True


def _plainly_fits(value: Any, schema: Schema) -> bool:
    kind = schema.get("type")
    return (
        isinstance(kind, str)
        and type(value) is _SCALARS.get(kind)
        and "enum" not in schema
        and "allOf" not in schema
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _types(schema: Schema) -> list[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        types = [kind]
    else:
        types = [item for item in _list(kind) if isinstance(item, str)]
        if not types and "properties" in schema:
            types = ["object"]
    if types and schema.get("nullable") is True:
        types.append("null")
    return types if all(item in _CONVERTERS for item in types) else []


def _has_type(value: Any, kind: str) -> bool:
    if kind == "integer":
        is_int = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return is_int and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, _PYTHON[kind])


_PLAIN = frozenset(
    {"type", "properties", "required", "additionalProperties", "title", "description", "$defs"}
)
_SCALARS: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
_PYTHON: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "null": type(None),
    "array": (list, tuple),
    "object": dict,
}


def _same(value: Any, option: Any) -> bool:
    return isinstance(value, bool) == isinstance(option, bool) and bool(value == option)


def _option(text: str, options: list[Any]) -> Any:
    """The option of another type that the text spells; how a string option is spelled is not ours to mend."""
    try:
        value = literal(text)
    except LiteralError:
        return text
    return next((option for option in options if not isinstance(option, str) and _same(value, option)), text)


def _integer(value: Any) -> Any:
    if isinstance(value, str):
        text = value.strip()
        if _INTEGER.fullmatch(text):
            return int(text)
        number = _number(text)
        if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
            return int(number)
    return _UNCHANGED


def _number(value: Any) -> Any:
    if isinstance(value, str):
        text = value.strip()
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            try:
                return finite(text)
            except LiteralError:
                return _UNCHANGED
    return _UNCHANGED


def _boolean(value: Any) -> Any:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), _UNCHANGED)
    return _UNCHANGED


def _null(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() in ("null", "none") else _UNCHANGED


def _container(value: Any, kind: type, openers: str) -> Any:
    if not isinstance(value, str) or value.strip()[:1] not in tuple(openers):
        return _UNCHANGED
    for read in (json_value, literal):
        try:
            result = read(value.strip())
        except LiteralError:
            continue
        return result if isinstance(result, kind) else _UNCHANGED
    return _UNCHANGED


def _array(value: Any) -> Any:
    return _container(value, list, "[(")


def _object(value: Any) -> Any:
    return _container(value, dict, "{")


def _string(value: Any) -> Any:
    return _UNCHANGED


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "null": _null,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": _array,
    "object": _object,
    "string": _string,
}
_ORDER = tuple(_CONVERTERS)
