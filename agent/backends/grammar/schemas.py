"""A tool's JSON schema as a rule of a grammar."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

# Separators as the dialects write them (json.dumps' own): what can be written in one way only is forced, not
# sampled. The escapes are those that JSON and Python literals read alike.
_OPTIONS = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "coerce_one_of": True,
    "lenient": True,
    "json_allowed_escapes": 'nrt"\\',
}
_SAFE_INTEGER = 2**53 - 1  # RFC 8259 §6: integers beyond are not read alike everywhere
_LARGE = 1e15
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_COMBINED = frozenset({"anyOf", "oneOf", "allOf", "$ref"})
_ANY = "arriero-any"
_ANY_REF = {"$ref": f"#/$defs/{_ANY}"}
_ANY_SCHEMA: Schema = {
    "anyOf": [
        {"type": ["string", "boolean", "null"]},
        {"type": "number", "minimum": -_LARGE, "maximum": _LARGE},
        {"type": "array", "items": _ANY_REF},
        {"type": "object", "additionalProperties": _ANY_REF},
    ]
}
ANY_OBJECT: Schema = {"type": "object"}
"""What the arguments of a tool are held to whose schema no grammar can be made of."""


def json_rule(schema: Schema) -> str:
    """A rule for one JSON value that fits ``schema``, in the notation of llguidance."""
    narrowed = narrow(schema)
    if _ANY in json.dumps(narrowed):
        narrowed["$defs"] = {**narrowed.get("$defs", {}), _ANY: _ANY_SCHEMA}
    return "%json " + json.dumps({**narrowed, "x-guidance": _OPTIONS}, ensure_ascii=False)


def narrow(schema: Schema) -> dict[str, Any]:
    """The schema without the values that nobody means: only named properties where some are named, numbers that
    can be read back, integers of 53 bits where no bound is given.

    Whatever fits the result fits the schema.
    """
    narrowed = _narrow(dict(schema), closed=not any(map(_combines, _nodes(schema))))
    return dict(narrowed)


def _nodes(value: Any) -> Iterator[Schema]:
    if isinstance(value, Mapping):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _combines(node: Schema) -> bool:
    """Whether properties from several places meet in one object, so that closing either would shut out the other."""
    return "allOf" in node or ("properties" in node and not _COMBINED.isdisjoint(node))


def _narrow(schema: Any, *, closed: bool) -> Any:
    if schema is True or schema == {}:
        return _ANY_REF
    if not isinstance(schema, dict) or "enum" in schema or "const" in schema:
        return schema
    result = dict(schema)
    for key in _MAPS:
        if isinstance(named := result.get(key), dict):
            result[key] = {name: _narrow(one, closed=closed) for name, one in named.items()}
    for key in _LISTS:
        if isinstance(listed := result.get(key), list):
            result[key] = [_narrow(one, closed=closed) for one in listed]
    for key in ("items", "additionalProperties"):
        if key in result:
            result[key] = _narrow(result[key], closed=closed)
    kinds = result.get("type", ())
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        _narrow_kind(kind, result, closed=closed)
    return result


def _narrow_kind(kind: str, schema: dict[str, Any], *, closed: bool) -> None:
    match kind:
        case "integer" if _BOUNDS.isdisjoint(schema):
            schema |= {"minimum": -_SAFE_INTEGER, "maximum": _SAFE_INTEGER}
        case "number" if _BOUNDS.isdisjoint(schema):
            schema |= {"minimum": -_LARGE, "maximum": _LARGE}
        case "array" if "prefixItems" not in schema:
            schema.setdefault("items", _ANY_REF)
        case "object" if "patternProperties" not in schema:
            if "properties" not in schema:
                schema.setdefault("additionalProperties", _ANY_REF)
            elif closed:
                schema.setdefault("additionalProperties", False)
