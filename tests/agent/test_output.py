"""Answers of a given type."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from arriero.agent import Agent, Limits
from arriero.agent.backends import Constraint, LlamaCppModel, Sampling, ScriptedModel
from arriero.agent.events import ModelRetried
from arriero.agent.models import bundled_model
from arriero.agent.output import Output, OutputError
from arriero.tools import tool


class Weather(BaseModel):
    city: str
    degrees: float
    sky: Literal["clear", "cloudy"] = "clear"


@dataclass
class Point:
    x: int
    y: int


@tool
def thermometer(city: str) -> float:
    """Measure."""
    return 21.5


GOOD = '{"city": "Oslo", "degrees": 21.5}<|eot_id|>'


def test_the_answer_comes_as_an_object() -> None:
    with Agent(ScriptedModel([GOOD]), output_type=Weather) as agent:
        result = agent.run_sync("How is Oslo?")
    assert result.data == Weather(city="Oslo", degrees=21.5)
    assert result.output == GOOD.removesuffix("<|eot_id|>")


def test_the_model_is_told_the_schema_and_asked_for_it() -> None:
    model = ScriptedModel([GOOD])
    with Agent(model, output_type=Weather) as agent:
        agent.run_sync("How is Oslo?")
    assert '"sky"' in model.prompts[0]
    assert model.constraints == [Constraint((), Output(Weather).schema)]


def test_tools_may_be_called_first() -> None:
    call = '{"name": "thermometer", "parameters": {"city": "Oslo"}}<|eom_id|>'
    with Agent(ScriptedModel([call, GOOD]), tools=[thermometer], output_type=Weather) as agent:
        result = agent.run_sync("How is Oslo?")
    assert result.data == Weather(city="Oslo", degrees=21.5)
    assert result.usage.tool_calls == 1


def test_another_answer_is_told_and_asked_for_again() -> None:
    model = ScriptedModel(["It is fine.<|eot_id|>", '{"city": "Oslo"}<|eot_id|>', GOOD])
    with Agent(model, output_type=Weather) as agent:
        events = list(agent.stream_sync("How is Oslo?"))
    reasons = [event.reason for event in events if isinstance(event, ModelRetried)]
    assert len(reasons) == 2
    assert "degrees: Field required" in reasons[1]
    assert "degrees: Field required" in model.prompts[2]


def test_the_run_ends_with_an_error_when_it_was_asked_for_too_often() -> None:
    with Agent(
        ScriptedModel(["No.<|eot_id|>"] * 2), output_type=Weather, limits=Limits(max_retries=1)
    ) as agent:
        result = agent.run_sync("How is Oslo?")
    assert result.stop_reason == "error"
    assert result.data is None
    assert "the answer has not the form" in (result.error or "")
    assert result.output == "No."


def test_without_a_type_the_text_is_the_data() -> None:
    with Agent(ScriptedModel(["Fine.<|eot_id|>"])) as agent:
        assert agent.run_sync("How is Oslo?").data == "Fine."


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (list[int], "[1, 2]", [1, 2]),
        (int, "12", 12),
        (dict[str, bool], '```json\n{"a": true}\n```', {"a": True}),
    ],
)
def test_any_type_that_pydantic_adapts(kind: Any, text: str, value: Any) -> None:
    assert Output(kind).read(text) == value


def test_a_text_that_is_no_document_is_said_to_be_none() -> None:
    with pytest.raises(OutputError, match="Invalid JSON"):
        Output(Point).read("x = 1")


def test_a_type_that_pydantic_does_not_know() -> None:
    with pytest.raises(OutputError, match="cannot be the type of an answer"):
        Agent(ScriptedModel([]), output_type=threading_lock())


def threading_lock() -> Any:
    class Odd: ...

    return Odd


def test_a_document_that_looks_like_a_call_is_refused_as_a_type() -> None:
    class Tool(BaseModel):
        name: str
        parameters: dict[str, str]

    with pytest.raises(OutputError, match="read as a tool call"):
        Output(Tool)


def test_a_real_model_can_write_nothing_else() -> None:
    class Verdict(BaseModel):
        word: Annotated[str, Field(max_length=12)]
        grade: Annotated[int, Field(ge=1, le=5)]
        sure: bool

    with Agent(
        LlamaCppModel(bundled_model(), n_threads=1, seed=1),
        output_type=Verdict,
        sampling=Sampling(temperature=1.5, top_p=1),
        limits=Limits(max_tokens=200),
    ) as agent:
        for question in ("Hello", "What is 2 + 2?", "Search for llamas"):
            result = agent.run_sync(question)
            assert result.stop_reason == "final"
            assert isinstance(result.data, Verdict)
