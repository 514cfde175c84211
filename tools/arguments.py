"""Checks a call's arguments against the tool's JSON schema before anything runs."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from arriero.prompts import ToolSpec

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


@lru_cache(maxsize=512)
def _validator(schema: str) -> "Validator":
    import json

    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def argument_error(spec: ToolSpec, arguments: dict[str, Any]) -> str | None:
    """None if ``arguments`` fit the spec, else one sentence for the model that says which do not and why."""
    import json

    validator = _validator(json.dumps(spec.parameters, sort_keys=True, default=str))
    problems = sorted(validator.iter_errors(arguments), key=lambda error: list(map(str, error.path)))
    if not problems:
        return None
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
    import json

    try:
        return not list(_validator(json.dumps(schema, sort_keys=True, default=str)).iter_errors(None))
    except Exception:
        # A schema that is wrong, or refers to another place: what it would say of null is not known here.
        return True
