import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero.prompts.coercion import coerce_arguments

INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
STRING = {"type": "string"}
BOOLEAN = {"type": "boolean"}


def coerced(value: Any, schema: Any, **root: Any) -> Any:
    return coerce_arguments({"v": value}, {"type": "object", "properties": {"v": schema}, **root})["v"]


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ("5", INTEGER, 5),
        (" -7 ", INTEGER, -7),
        ("5.0", INTEGER, 5),
        ("1.5", NUMBER, 1.5),
        ("3", NUMBER, 3),
        ("-1.5e-7", NUMBER, -1.5e-7),
        ("true", BOOLEAN, True),
        ("False", BOOLEAN, False),
        ("null", {"type": ["integer", "null"]}, None),
        ("None", {"type": "integer", "nullable": True}, None),
        ("[3, 4]", {"type": "array", "items": INTEGER}, [3, 4]),
        ("['3', '4']", {"type": "array", "items": INTEGER}, [3, 4]),
        ("(1, 2)", {"type": "array"}, [1, 2]),
        ('["a", true]', {"type": "array"}, ["a", True]),
        ("{'a': 1}", {"type": "object"}, {"a": 1}),
        ('{"a": "1"}', {"type": "object", "properties": {"a": INTEGER}}, {"a": 1}),
        ({"a": {"b": "2"}}, {"properties": {"a": {"properties": {"b": NUMBER}}}}, {"a": {"b": 2}}),
        ({"a": "2"}, {"type": "object", "additionalProperties": INTEGER}, {"a": 2}),
        (["1", "x"], {"type": "array", "prefixItems": [INTEGER, STRING]}, [1, "x"]),
        ("2", {"enum": [1, 2]}, 2),
        ("7", {"anyOf": [INTEGER, {"type": "null"}]}, 7),
        (["1"], {"anyOf": [{"type": "array", "items": INTEGER}, {"type": "null"}]}, [1]),
        ("[1]", {"oneOf": [{"type": "array"}, BOOLEAN]}, [1]),
        ("4", {"allOf": [INTEGER, {"description": "a count"}]}, 4),
    ],
)
def test_brings_a_value_to_the_type_asked_for(value: Any, schema: Any, expected: Any) -> None:
    result = coerced(value, schema)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("5", STRING),
        ("true", STRING),
        ("[1, 2]", STRING),
        ("null", {"anyOf": [STRING, {"type": "null"}]}),
        ("5", {"type": ["string", "integer"]}),
        ("5", {}),
        ("False", {"type": "string", "enum": ["True", "False"]}),
        ("celsius", {"type": "string", "enum": ["Celsius", "Fahrenheit"]}),
        (5, {"anyOf": [INTEGER, STRING]}),
        (True, BOOLEAN),
        ({"k": ["1", None]}, {"type": "object"}),
    ],
)
def test_leaves_what_already_fits(value: Any, schema: Any) -> None:
    result = coerced(value, schema)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("five", INTEGER),
        ("5.5", INTEGER),
        ("1e999", NUMBER),
        ("nan", NUMBER),
        ("9" * 5000, INTEGER),
        ("yes", BOOLEAN),
        (1, BOOLEAN),
        ("timings,exhibitions", {"type": "array", "items": STRING}),
        ("[1, 2", {"type": "array"}),
        ("{'a': x}", {"type": "object"}),
        ("[1]", {"type": "object"}),
        (5, STRING),
        ("5", {"type": "no such type"}),
        ("5", {"$ref": "#/nowhere"}),
        ("5", {"$ref": "https://example.org/schema"}),
        ("[" * 2000, {"type": "array"}),
        ("[" * 150 + "]" * 150, {"type": "array"}),
        ("5", True),
    ],
)
def test_leaves_what_cannot_be_brought_to_fit(value: Any, schema: Any) -> None:
    assert coerced(value, schema) == value


def test_follows_references_and_stops_at_circles() -> None:
    tree = {"type": "object", "properties": {"n": INTEGER, "next": {"$ref": "#/$defs/tree"}}}
    value = {"n": "1", "next": {"n": "2", "next": {"n": "3"}}}
    assert coerced(value, {"$ref": "#/$defs/tree"}, **{"$defs": {"tree": tree}}) == {
        "n": 1,
        "next": {"n": 2, "next": {"n": 3}},
    }
    assert coerced("1", {"$ref": "#/$defs/a"}, **{"$defs": {"a": {"$ref": "#/$defs/a"}}}) == "1"


def test_chooses_the_object_branch_whose_required_names_are_there() -> None:
    first = {"type": "object", "properties": {"a": STRING}, "required": ["a"]}
    second = {"type": "object", "properties": {"b": INTEGER}, "required": ["b"]}
    assert coerced({"b": "1"}, {"anyOf": [first, second]}) == {"b": 1}


def test_branching_schemas_stay_affordable() -> None:
    node: dict[str, Any] = {"type": "object", "properties": {}}
    schema = {"anyOf": [node, {**node}, {"type": "array", "items": {"$ref": "#/properties/v"}}]}
    node["properties"] = {"next": {"$ref": "#/properties/v"}, "n": INTEGER}
    value: Any = {"n": "x"}
    for _ in range(60):
        value = {"next": value, "n": "x"}
    assert coerced(value, schema) == value


@pytest.mark.parametrize(
    "schema", [{}, {"type": "object"}, {"properties": None}, {"properties": {"v": None}}]
)
def test_a_schema_that_says_nothing_changes_nothing(schema: dict[str, Any]) -> None:
    assert coerce_arguments({"v": "5"}, schema) == {"v": "5"}


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
_SCHEMAS = st.recursive(
    st.sampled_from(
        [{}, INTEGER, NUMBER, STRING, BOOLEAN, {"type": ["integer", "null"]}, {"enum": [1, "a"]}]
    ),
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner)
        | st.builds(lambda a: {"type": "object", "properties": {"a": a}, "additionalProperties": a}, inner)
    ),
    max_leaves=5,
)


@given(_VALUES, _SCHEMAS)
def test_is_pure_and_has_nothing_left_to_do_afterwards(value: Any, schema: Any) -> None:
    before = copy.deepcopy(value)
    once = coerced(value, schema)
    assert value == before
    assert coerced(once, schema) == once


@given(st.dictionaries(st.text(max_size=5), _VALUES, max_size=3))
def test_stringified_containers_come_back(arguments: dict[str, Any]) -> None:
    assert coerced(repr(arguments), {"type": "object"}) == arguments
