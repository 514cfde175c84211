"""Makes names and schemas that another program wrote fit for ours."""

import json
import re
from collections.abc import Collection, Iterable
from typing import Any

# What Llama models are trained to call in other ways than by JSON.
RESERVED = ("python", "code_interpreter", "brave_search", "wolfram_alpha")
_LARGEST = 64 * 1024
_NAME_LENGTH = 64
_BY_NAME = {"properties", "$defs", "definitions", "dependentSchemas"}
_VERBATIM = {"enum", "const", "default", "examples", "required"}
# Another program's regular expressions could take for ever; the server checks its arguments itself.
_DROPPED = {"pattern", "patternProperties", "propertyNames", "$id", "$schema", "$anchor", "$dynamicRef"}


def usable_schema(schema: Any) -> dict[str, Any]:
    """The schema without what could harm the caller; an object of anything where it cannot be used.

    Left out are regular expressions, references out of the schema, and schemas above 64 KiB.
    """
    from jsonschema import Draft202012Validator

    try:
        cleaned = _cleaned(schema)
        if len(json.dumps(cleaned)) > _LARGEST or cleaned.get("type", "object") != "object":
            raise ValueError
        Draft202012Validator.check_schema(cleaned)
    except Exception:  # another program's data: whatever is wrong with it, the tool can still be called
        return {"type": "object", "properties": {}}
    usable: dict[str, Any] = {"type": "object", "properties": {}} | cleaned
    return usable


def _cleaned(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_cleaned(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if not str(schema.get("$ref", "#")).startswith("#"):
        return {}
    kept = {key: value for key, value in schema.items() if key not in _DROPPED}
    return {key: _value(key, value) for key, value in kept.items()}


def _value(key: str, value: Any) -> Any:
    if key in _VERBATIM:
        return value
    if key in _BY_NAME and isinstance(value, dict):
        return {name: _cleaned(item) for name, item in value.items()}
    return _cleaned(value)


def wire_names(offered: Iterable[tuple[str, str]], taken: Collection[str]) -> dict[tuple[str, str], str]:
    """A name for each (server, tool): the tool's own made of letters, digits, '_', '-' and '.', with the
    server's before it where two servers, ``taken``, or a name that models know in another way collide.
    """
    offered = list(dict.fromkeys(offered))
    plain = [_fit(tool) for _, tool in offered]
    names: dict[tuple[str, str], str] = {}
    used = {*taken, *RESERVED}
    for (server, tool), name in zip(offered, plain, strict=True):
        if plain.count(name) > 1 or name in used:
            name = _fit(f"{server}_{tool}")
        number = 2
        while name in used:
            suffix = f"_{number}"
            name = _fit(f"{server}_{tool}")[: _NAME_LENGTH - len(suffix)] + suffix
            number += 1
        names[server, tool] = name
        used.add(name)
    return names


def _fit(name: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:_NAME_LENGTH] or "tool"
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"[:_NAME_LENGTH]
