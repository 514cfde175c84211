"""Messages that cannot be used are taken back, and leave nothing behind."""

from typing import Any

import pytest

from arriero.agent import Agent, Limits
from arriero.agent.backends import Constraint, Sampling, ScriptedModel
from arriero.agent.events import Event, ModelRetried, RunFinished, TextDelta, ToolCallStarted
from arriero.tools import tool

GOOD = '<|python_tag|>{"name": "add", "parameters": {"a": 1, "b": 2}}<|eom_id|>'
END = "Three.<|eot_id|>"
BAD = {
    "unknown": '{"name": "nope", "parameters": {}}<|eom_id|>',
    "malformed": '<|python_tag|>{"name": "add", "parameters": {"a": 1<|eom_id|>',
    "wrong type": '{"name": "add", "parameters": {"a": "one", "b": 2}}<|eom_id|>',
    "missing": '{"name": "add", "parameters": {"a": 1}}<|eom_id|>',
    "one of two": '{"name": "add", "parameters": {"a": 1, "b": 2}}; {"name": "ad", "parameters": {}}<|eom_id|>',
}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Constraining(ScriptedModel):
    """A double that claims to hold to constraints."""

    constrains = True


def run(model: ScriptedModel, **options: Any) -> tuple[list[Event], RunFinished, Any]:
    with Agent(model, tools=[add], **options) as agent:
        conversation = agent.conversation()
        events = list(agent.stream_sync("1 + 2?", conversation=conversation))
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    return events, finished, conversation


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_call_that_cannot_run_is_taken_back_and_spends_no_context(bad: str) -> None:
    clean = ScriptedModel([GOOD, END])
    expected = run(clean)
    model = ScriptedModel([bad, bad, GOOD, END])
    events, finished, conversation = run(model)
    model.assert_complete()
    assert model.prompts[0] == model.prompts[1] == model.prompts[2]
    assert model.detokenize(conversation.tokens) == clean.detokenize(expected[2].tokens)
    assert finished.new_messages == tuple(
        message.model_copy(update={"tool_call_id": theirs.tool_call_id, "tool_calls": theirs.tool_calls})
        for message, theirs in zip(expected[1].new_messages, finished.new_messages, strict=True)
    )
    assert finished.output == "Three."
    assert sum(isinstance(event, ToolCallStarted) for event in events) == 1
    retries = [event for event in events if isinstance(event, ModelRetried)]
    assert len(retries) == 2
    assert all(event.discarded_tokens > 0 and event.reason for event in retries)
    spent = sum(event.discarded_tokens for event in retries)
    assert finished.usage.output_tokens == expected[1].usage.output_tokens + spent
    header = len("assistant\n\n") + 2
    assert finished.usage.prompt_tokens == expected[1].usage.prompt_tokens + 2 * header


def test_after_all_retries_the_model_is_told() -> None:
    model = ScriptedModel([BAD["unknown"]] * 3 + [GOOD, END])
    events, finished, conversation = run(model)
    assert finished.output == "Three."
    assert "there is no tool called 'nope'" in model.detokenize(conversation.tokens)
    assert sum(isinstance(event, ModelRetried) for event in events) == 2


def test_retries_count_anew_for_each_message() -> None:
    model = ScriptedModel([BAD["missing"], GOOD, BAD["missing"], BAD["malformed"], GOOD, END])
    assert run(model)[1].output == "Three."
    model.assert_complete()


def test_a_retry_asks_for_a_call_and_another_seed() -> None:
    seeds: list[int | None] = []

    class Seeds(Constraining):
        def generate(self, tokens: Any, sampling: Sampling, **rest: Any) -> Any:
            seeds.append(sampling.seed)
            return super().generate(tokens, sampling, **rest)

    model = Seeds([BAD["malformed"], GOOD, END])
    run(model, sampling=Sampling(temperature=0, seed=7))
    asked = [constraint.required for constraint in model.constraints if constraint]
    assert asked == [False, True, False]
    assert len(set(seeds[:2])) == 2
    assert seeds[0] == 7


def test_without_chance_or_constraint_the_model_is_told_at_once() -> None:
    model = ScriptedModel([BAD["missing"], GOOD, END])
    events, finished, _ = run(model, sampling=Sampling(temperature=0))
    assert finished.output == "Three."
    assert not any(isinstance(event, ModelRetried) for event in events)


def test_text_before_a_call_that_is_taken_back_is_no_part_of_the_answer() -> None:
    model = ScriptedModel([f"Let me add.\n{BAD['missing']}", END])
    events, finished, conversation = run(model)
    assert "Let me add." in "".join(event.text for event in events if isinstance(event, TextDelta))
    assert finished.output == "Three."
    assert "Let me add" not in model.detokenize(conversation.tokens)


def test_limits_still_hold_while_messages_are_taken_back() -> None:
    model = ScriptedModel([BAD["missing"]] * 9)
    with Agent(model, tools=[add], limits=Limits(max_steps=2, max_retries=5, last_answer=False)) as agent:
        result = agent.run_sync("1 + 2?")
    assert result.stop_reason == "max_steps"
    assert result.usage.tool_calls == 0


def test_every_step_is_asked_to_call_the_tools_on_offer() -> None:
    model = ScriptedModel([GOOD, END])
    run(model)
    assert model.constraints == [Constraint((add.spec,))] * 2


def test_without_tools_nothing_is_constrained() -> None:
    model = ScriptedModel([END])
    with Agent(model) as agent:
        agent.run_sync("1 + 2?")
    assert model.constraints == [None]
