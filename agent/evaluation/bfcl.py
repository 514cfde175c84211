"""The Berkeley Function Calling Leaderboard, version 4, as its package ``bfcl-eval`` lays it out on disk."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arriero.prompts import ArrieroError, ToolCall, ToolSpec

_PREFIX: Final = "BFCL_v4_"
_ANSWERS: Final = "possible_answer"
WITH_ANSWERS: Final = (
    "simple_python", "multiple", "parallel", "parallel_multiple",
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple",
)  # fmt: skip
"""Categories of one turn whose right calls are given."""
WITHOUT_CALLS: Final = ("irrelevance", "live_irrelevance")
"""Categories in which no tool offered fits, and calling none is right."""
WITH_ANY_CALL: Final = ("live_relevance",)
"""Categories in which any call is right."""

_TYPES: Final = {"dict": "object", "float": "number", "tuple": "array", "list": "array"}
_KNOWN: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


class SuiteError(ArrieroError):
    """The files of a suite are missing, or not what they should be."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question, the functions offered, and the calls that are right.

    ``answers`` has one ``{name: {parameter: [values]}}`` for each call; a value ``""`` allows leaving the parameter
    out. ``functions`` are as published; ``tools`` the same as arriero offers them.
    """

    id: str
    category: str
    system: str
    question: str
    functions: tuple[dict[str, Any], ...]
    tools: tuple[ToolSpec, ...]
    answers: tuple[Mapping[str, Mapping[str, list[Any]]], ...] = ()

    def example(self) -> list[ToolCall]:
        """One right call for each that is asked for: the first value that is allowed for each parameter.

        A few published answers name parameters that the function lacks; those that may be left out are.
        """
        kinds = {f["name"]: f["parameters"].get("properties", {}) for f in self.functions}
        calls = []
        for answer in self.answers:
            for name, parameters in answer.items():
                known = kinds.get(name, {})
                values = {p: _first(o) for p, o in parameters.items() if p in known or "" not in o}
                arguments = {p: _widened(v, known.get(p, {})) for p, v in values.items() if v is not _NONE}
                calls.append(ToolCall(name=name, arguments=arguments))
        return calls


_NONE: Final = object()


def _first(options: Iterable[Any]) -> Any:
    value = next((option for option in options if option != ""), _NONE)
    if isinstance(value, dict):
        return _plain(value)
    return (
        [_plain(item) if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else value
    )


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: _first(v) if isinstance(v, list) else v for key, v in table.items()}
    return {key: value for key, value in values.items() if value is not _NONE}


def _widened(value: Any, kind: Mapping[str, Any]) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and kind.get("type") == "float" else value


def categories(folder: Path) -> list[str]:
    """The categories of one turn whose files are in the folder."""
    return [name for name in (*WITH_ANSWERS, *WITHOUT_CALLS, *WITH_ANY_CALL) if has(folder, name)]


def load(folder: Path, category: str) -> list[Case]:
    """The cases of a category, in the order of the file. Raises SuiteError."""
    rows = questions(folder, category)
    answers = answers_of(folder, category) if category in WITH_ANSWERS else {}
    cases = []
    for row in rows:
        try:
            cases.append(_case(row, category, answers))
        except (KeyError, TypeError, ValueError) as error:
            raise SuiteError(
                f"{folder}: the entry {row.get('id')!r} of {category} has another shape: {error!r}"
            ) from error
    return cases


def questions(folder: Path, category: str) -> list[dict[str, Any]]:
    """The entries of a category, as published. Raises SuiteError."""
    return rows_of(folder / f"{_PREFIX}{category}.json")


def answers_of(folder: Path, category: str) -> dict[str, Any]:
    """The right calls of a category, by the entry's id, as published. Raises SuiteError."""
    rows = rows_of(folder / _ANSWERS / f"{_PREFIX}{category}.json")
    return {row["id"]: row["ground_truth"] for row in rows}


def has(folder: Path, category: str) -> bool:
    """Whether the folder holds a category."""
    return (folder / f"{_PREFIX}{category}.json").is_file()


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines. Raises SuiteError."""
    rows = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    rows.append(json.loads(line))
                    if not isinstance(rows[-1], dict):
                        raise SuiteError(f"{path}:{number}: this is no JSON object")
    except OSError as error:
        raise SuiteError(
            f"{path} cannot be read: {error.strerror}; give the folder `bfcl_eval/data` of the package bfcl-eval"
        ) from error
    except ValueError as error:
        raise SuiteError(f"{path}:{len(rows) + 1}: this is no JSON: {error}") from error
    return rows


def _case(row: Mapping[str, Any], category: str, answers: Mapping[str, Any]) -> Case:
    messages = row["question"][0]
    functions = tuple(row["function"])
    return Case(
        id=row["id"],
        category=category,
        system="\n".join(m["content"] for m in messages if m["role"] == "system"),
        question="\n".join(m["content"] for m in messages if m["role"] != "system"),
        functions=functions,
        tools=tuple(tool_of(function) for function in functions),
        answers=tuple(answers[row["id"]]) if category in WITH_ANSWERS else (),
    )


def tool_of(function: Mapping[str, Any]) -> ToolSpec:
    """A function as arriero offers it."""
    return ToolSpec(
        name=function["name"],
        description=function.get("description") or "",
        parameters=schema(function["parameters"]),
    )


def schema(published: Mapping[str, Any]) -> dict[str, Any]:
    """The suite's own types as JSON Schema has them; ``any`` and unknown ones constrain nothing."""
    out: dict[str, Any] = {}
    for key, value in published.items():
        if key == "type":
            kind = _TYPES.get(str(value), value)
            if kind in _KNOWN:
                out["type"] = kind
        elif key == "properties" and isinstance(value, Mapping):
            out[key] = {name: schema(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, Mapping):
            out[key] = schema(value)
        else:
            out[key] = value
    return out
