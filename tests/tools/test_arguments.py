"""Arguments against the tool's schema, and nulls that mean that nothing was given."""

from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from arriero.agent import Agent
from arriero.agent.backends import ScriptedModel
from arriero.prompts import ToolSpec
from arriero.tools.arguments import argument_error, given

SPEC = ToolSpec(
    name="find",
    parameters={
        "type": "object",
        "properties": {
            "place": {"type": "string"},
            "day": {"type": "string"},
            "kind": {"enum": ["a", "b"]},
            "limit": {"type": ["integer", "null"]},
            "free": {},
            "wrong": {"type": 7},
            "far": {"$ref": "#/$defs/nowhere"},
        },
        "required": ["place"],
    },
)


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({"place": "Rome", "day": None}, {"place": "Rome"}),
        ({"place": "Rome", "kind": None, "limit": None}, {"place": "Rome", "limit": None}),
        ({"place": None}, {"place": None}),
        ({"free": None, "wrong": None, "far": None, "other": None}, None),
        ({"place": "Rome", "day": ""}, None),
        ({}, None),
    ],
)
def test_a_null_that_the_tool_does_not_take_is_left_out(
    arguments: dict[str, Any], kept: dict[str, Any] | None
) -> None:
    assert given(SPEC, arguments) == (arguments if kept is None else kept)


def test_schemas_without_properties_are_left_alone() -> None:
    assert given(ToolSpec(name="x", parameters={}), {"a": None}) == {"a": None}
    assert given(ToolSpec(name="x", parameters={"properties": []}), {"a": None}) == {"a": None}


def test_what_does_not_fit_is_named_with_what_is_expected() -> None:
    error = argument_error(
        ToolSpec(name="f", parameters={"properties": {"n": {"type": "integer"}}}), {"n": "x"}
    )
    assert error == (
        "Invalid arguments for f: n: 'x' is not of type 'integer'. "
        'Expected parameters: {"n": {"type": "integer"}}'
    )


def test_a_call_with_null_for_what_may_be_left_out_runs_with_the_default() -> None:
    found: list[tuple[str, str]] = []

    def find(place: str, day: str = "today") -> str:
        """Find something."""
        found.append((place, day))
        return "ok"

    text = '{"name": "find", "parameters": {"place": "Rome", "day": null}}<|eom_id|>'
    with Agent(ScriptedModel([text, "Done.<|eot_id|>"]), tools=[find]) as agent:
        assert agent.run_sync("Find").stop_reason == "final"
    assert found == [("Rome", "today")]


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=1),
)
KINDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["string", "integer", "number", "boolean", "null", "array", ["string", "null"]]
        ),
        "description": st.text(max_size=3),
        "default": VALUES,
        "enum": st.just(["x", 1]),
        "minimum": st.just(3),
        "maxLength": st.just(1),
    },
)
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["object", "string"]),
        "properties": st.dictionaries(NAMES, KINDS, max_size=3),
        "required": st.lists(NAMES, max_size=3),
        "additionalProperties": st.booleans(),
        "minProperties": st.just(2),
    },
)


@drawn(SCHEMAS, st.dictionaries(NAMES, VALUES, max_size=3))
def test_arguments_pass_exactly_where_the_schema_lets_them(
    schema: dict[str, Any], arguments: dict[str, Any]
) -> None:
    passed = argument_error(ToolSpec(name="f", parameters=schema), arguments) is None
    assert passed == Draft202012Validator(schema).is_valid(arguments)
