"""Values of a JSON schema written as Python literals, for calls such as ``[f(a='x', b=True)]``."""

import json
import re
from collections.abc import Sequence
from typing import Any

from .schemas import Schema, json_rule

_MOST_NESTED = 8
_NAME = re.compile(r"[^\W\d]\w*(?:[.\-][^\W\d]\w*)*")
_PLAIN = re.compile(r"[^\x00-\x1f\x7f\\'\"]*")
_STRING_KEYS = frozenset({"type", "minLength", "maxLength", "title", "description", "default", "examples"})
_ARRAY_KEYS = frozenset(
    {"type", "items", "minItems", "maxItems", "title", "description", "default", "examples"}
)
_CHAR = r"""([^%s\\\x00-\x1f\x7f]|\\["'\\nrt])"""


def is_name(text: str) -> bool:
    """Whether the parser reads ``text`` as one name of a Python call."""
    return bool(_NAME.fullmatch(text)) and text.lower() not in ("true", "false", "none", "null")


class Literals:
    """Writes rules for the literals of one schema; ``rules`` are the lines that they need."""

    def __init__(self, root: Schema, prefix: str) -> None:
        self.rules: list[str] = []
        self._root = root
        self._prefix = prefix

    def arguments(self, properties: Schema, required: Sequence[str]) -> str:
        """``a=…, b=…`` in the order of the schema."""
        entries = [
            (f"{json.dumps(f'{name}=', ensure_ascii=False)} {self.value(schema, 0)}", name in required)
            for name, schema in properties.items()
        ]
        return self._sequence(entries)

    def value(self, schema: Any, depth: int) -> str:
        """The name of the rule for a literal of ``schema``."""
        return self._rule(self._alternatives(schema, depth))

    def _rule(self, body: str) -> str:
        name = f"{self._prefix}_{len(self.rules)}"
        self.rules.append(f"{name}: {body}")
        return name

    def _alternatives(self, schema: Any, depth: int) -> str:
        resolved = self._resolved(schema)
        if not isinstance(resolved, dict) or depth > _MOST_NESTED or "allOf" in resolved:
            return self._json(schema)
        if "enum" in resolved or "const" in resolved:
            return self._options(resolved)
        for key in ("anyOf", "oneOf"):
            if isinstance(branches := resolved.get(key), list) and branches and "properties" not in resolved:
                return " | ".join(self.value(branch, depth + 1) for branch in branches)
        kinds = resolved.get("type")
        if isinstance(kinds, list) and kinds:
            return " | ".join(self.value({**resolved, "type": kind}, depth + 1) for kind in kinds)
        return self._literal(kinds, resolved, depth)

    def _literal(self, kind: Any, schema: dict[str, Any], depth: int) -> str:
        match kind:
            case "boolean":
                return '"True" | "False"'
            case "null":
                return '"None"'
            case "string" if schema.keys() <= _STRING_KEYS:
                return _string(int(schema.get("minLength", 0)), schema.get("maxLength"))
            case "array" if schema.keys() <= _ARRAY_KEYS and "items" in schema:
                return self._list(schema, depth)
            case "object" if isinstance(schema.get("properties"), dict) and schema["properties"]:
                return self._dict(schema, depth)
        return self._json(schema)

    def _list(self, schema: dict[str, Any], depth: int) -> str:
        item = self.value(schema["items"], depth + 1)
        least, most = int(schema.get("minItems", 0)), schema.get("maxItems")
        if most == 0:
            return '"[]"'
        more = f"{max(least - 1, 0)},{'' if most is None else int(most) - 1}"
        full = f'"[" {item} ({json.dumps(", ")} {item}){{{more}}} "]"'
        return full if least > 0 else f'"[]" | {full}'

    def _dict(self, schema: dict[str, Any], depth: int) -> str:
        entries = [
            (f"{json.dumps(f'{json.dumps(name)}: ')} {self.value(one, depth + 1)}", name in _required(schema))
            for name, one in schema["properties"].items()
        ]
        return f'"{{" {self._sequence(entries)} "}}"'

    def _sequence(self, entries: Sequence[tuple[str, bool]]) -> str:
        """Entries in order, with commas between those that are there; True marks the ones that must be."""
        first = rest = ""
        for entry, needed in reversed(entries):
            begun = self._rule(f"{entry} {rest}".rstrip())
            if not needed:
                begun = self._rule(f"{begun} | {first}") if first else f"{begun}?"
            first = begun
            follows = f'", " {entry}' if needed else f'(", " {entry})?'
            rest = self._rule(f"{follows} {rest}".rstrip())
        return first

    def _options(self, schema: dict[str, Any]) -> str:
        options = schema["enum"] if "enum" in schema else [schema["const"]]
        written: list[str] = []
        for option in options:
            if option is None or isinstance(option, bool):
                written.append(str(option))
            elif isinstance(option, str | int | float):
                written.append(json.dumps(option, ensure_ascii=False))
                if isinstance(option, str) and _PLAIN.fullmatch(option):
                    written.append(f"'{option}'")
            else:
                return self._json(schema)
        return " | ".join(json.dumps(text, ensure_ascii=False) for text in written)

    def _resolved(self, schema: Any) -> Any:
        for _ in range(_MOST_NESTED):
            if not (isinstance(schema, dict) and isinstance(schema.get("$ref"), str)):
                return schema
            target: Any = self._root
            for part in schema["$ref"].removeprefix("#").split("/")[1:]:
                target = target.get(part) if isinstance(target, dict) else None
            schema = target
        return None

    def _json(self, schema: Any) -> str:
        definitions = {key: self._root[key] for key in ("$defs", "definitions") if key in self._root}
        return json_rule({**definitions, **schema} if isinstance(schema, dict) else {"anyOf": [schema]})


def _required(schema: dict[str, Any]) -> Sequence[str]:
    required = schema.get("required")
    return required if isinstance(required, list) else []


def _string(least: int, most: int | None) -> str:
    count = f"{{{least},{'' if most is None else most}}}" if least or most is not None else "*"
    return " | ".join(f"/{quote}{_CHAR % quote}{count}{quote}/" for quote in "\"'")
