"""Conversations that fill the context, outputs that are too long, agents that call agents."""

import asyncio
import json
from typing import Any

import pytest

from arriero.agent import Agent, CancellationToken, Limits
from arriero.agent.backends import FunctionModel, ScriptedModel
from arriero.agent.context import ContextState, DropToolOutputs, Keep, SummariseTurns
from arriero.agent.events import ContextCompacted, RunFinished, StepStarted, ToolCallStarted
from arriero.agent.journal import Journal
from arriero.agent.outputs import OutputReader
from arriero.prompts import Message
from arriero.tools import tool

CALL = '{"name": "look", "parameters": {"what": "%d"}}<|eom_id|>'


@tool(effect="read")
async def look(what: str) -> str:
    """Look."""
    return f"<{what}>" + "x" * 600


def looks(times: int, **options: Any) -> tuple[list[Any], ScriptedModel]:
    answers = [CALL % number for number in range(times)]
    model = ScriptedModel([*answers, "Seen.<|eot_id|>"], context_length=4000)
    with Agent(model, tools=[look], guards=None, **options) as agent:
        return list(agent.stream_sync("Look")), model


def test_oldest_outputs_go_and_it_is_said(tmp_path: Any) -> None:
    journal = Journal(tmp_path / "journal.db")
    events, model = looks(8, context=DropToolOutputs(keep=2), journal=journal)
    compacted = [event for event in events if isinstance(event, ContextCompacted)]
    assert events[-1].stop_reason == "final"
    assert compacted
    assert all(event.tokens_after < event.tokens_before for event in compacted)
    assert "outputs of tools" in compacted[0].removed
    assert (
        "[The output of this call was taken out to make room: 603 characters. It began: <0>xxx"
        in model.prompts[-1]
    )
    assert "<7>" + "x" * 600 in model.prompts[-1]
    assert all(event.context_tokens < 4000 for event in events if isinstance(event, StepStarted))
    kept = journal.conversation("last")
    assert "taken out" in kept.messages[3].content
    assert kept.messages[-1].content == "Seen."
    journal.close()


def test_the_beginning_of_the_transcript_stays() -> None:
    _, model = looks(8, context=DropToolOutputs(keep=2))
    first, last = model.prompts[0], model.prompts[-1]
    head = first.removesuffix("<|start_header_id|>assistant<|end_header_id|>\n\n")
    assert last.startswith(head)


def test_older_turns_are_summarised() -> None:
    async def shorter(text: str) -> str:
        return f"{text.count('user:')} questions"

    model = FunctionModel(lambda prompt: "word " * 200 + "<|eot_id|>", context_length=4000, chunk=1)
    with Agent(model, guards=None, context=SummariseTurns(shorter)) as agent:
        conversation = agent.conversation()
        events = [e for n in range(6) for e in agent.stream_sync(f"Question {n}", conversation=conversation)]
    assert any(isinstance(event, ContextCompacted) for event in events)
    assert all(e.stop_reason == "final" for e in events if isinstance(e, RunFinished))
    assert "What was said before, in short:" in model.prompts[-1]
    assert conversation.undo()


def test_a_policy_is_any_callable_and_keep_leaves_all() -> None:
    state = ContextState((Message(role="user", content="a"),), 10, 5, len)
    assert Keep()(state) is None
    assert DropToolOutputs()(state) is None
    assert asyncio.run(SummariseTurns(str)(state)) is None  # type: ignore[arg-type]
    seen: list[ContextState] = []
    events, _ = looks(8, context=seen.append)
    assert seen[0].tokens > seen[0].room
    assert not any(isinstance(event, ContextCompacted) for event in events)


def test_a_long_output_can_be_read_on() -> None:
    @tool(effect="read")
    async def long() -> str:
        """Long."""
        return "a" * 3000 + "needle" + "b" * 30_000

    def answer(prompt: str) -> str:
        if "needle" in prompt:
            return "Found.<|eot_id|>"
        if "reads on" in prompt:
            name = prompt.split('read_output(output="')[1].split('"')[0]
            return (
                json.dumps({"name": "read_output", "parameters": {"output": name, "start": 500}})
                + "<|eom_id|>"
            )
        return '{"name": "long", "parameters": {}}<|eom_id|>'

    with Agent(
        FunctionModel(answer), tools=[long, OutputReader()], limits=Limits(max_output_chars=1000), guards=None
    ) as agent:
        result = agent.run_sync("Go")
    assert result.output == "Found."


def test_an_agent_as_a_tool_is_bounded_by_and_counts_for_its_caller() -> None:
    inner = Agent(ScriptedModel([CALL % 1, "Forty-two.<|eot_id|>"]), tools=[look], guards=None)
    task = '{"name": "expert", "parameters": {"task": "What is it?"}}<|eom_id|>'
    outer = ScriptedModel([task, "It is 42.<|eot_id|>"])
    with Agent(outer, tools=[inner.as_tool("expert", "Knows.")], guards=None) as agent:
        result = agent.run_sync("Ask")
    assert result.output == "It is 42."
    assert "Forty-two." in outer.prompts[1]
    assert result.usage.tool_calls == 2
    limited = Agent(ScriptedModel([CALL % 1, "never<|eot_id|>"]), tools=[look], guards=None)
    outer = ScriptedModel([task, "So be it.<|eot_id|>"])
    limits = Limits(max_tool_calls=1, last_answer=False)
    with Agent(outer, tools=[limited.as_tool("expert", "Knows.")], guards=None, limits=limits) as agent:
        assert agent.run_sync("Ask").output == "So be it."
    assert "did not come to its end: the limit of 0 tool calls is reached" in outer.prompts[1]


def test_stopping_the_caller_stops_the_agent_that_it_called() -> None:
    stopped: list[bool] = []

    @tool
    async def slow() -> str:
        """Take long."""
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(True)
        return "late"

    inner = Agent(ScriptedModel(['{"name": "slow", "parameters": {}}<|eom_id|>']), tools=[slow])
    model = ScriptedModel(['{"name": "helper", "parameters": {"task": "x"}}<|eom_id|>'])

    async def work() -> tuple[str, int]:
        cancel = CancellationToken()
        outer = Agent(model, tools=[inner.as_tool("helper", "Helps.")])
        async for event in outer.stream("Go", cancel=cancel):
            if isinstance(event, ToolCallStarted):
                asyncio.get_running_loop().call_later(0.2, cancel.cancel)
            if isinstance(event, RunFinished):
                reason = event.stop_reason
        return reason, len(asyncio.all_tasks())

    assert asyncio.run(work()) == ("cancelled", 1)
    assert stopped == [True]


def test_agents_that_call_each_other_end() -> None:
    task = '{"name": "again", "parameters": {"task": "x"}}<|eom_id|>'
    model = FunctionModel(
        lambda prompt: "Enough.<|eot_id|>" if "deep already" in prompt or "Enough" in prompt else task
    )
    agent = Agent(model, guards=None)
    again = agent.as_tool("again", "Again.")
    agent.tools["again"] = again
    with agent:
        assert agent.run_sync("Go", limits=Limits(tool_timeout=30)).output == "Enough."
    assert any("4 deep already" in prompt for prompt in model.prompts)


@pytest.mark.parametrize("name", ["code_interpreter", "brave_search"])
def test_a_tool_named_like_a_built_in_is_called_in_its_form(name: str) -> None:
    seen: list[str] = []

    if name == "code_interpreter":

        @tool(name=name, effect="read")
        async def mine(code: str) -> str:
            """Mine."""
            seen.append(code)
            return "ok"

        written = "<|python_tag|>print(1)<|eom_id|>"
    else:

        @tool(name=name, effect="read")
        async def mine(query: str) -> str:
            """Mine."""
            seen.append(query)
            return "ok"

        written = '<|python_tag|>brave_search.call(query="print(1)")<|eom_id|>'
    with Agent(ScriptedModel([written, "Done.<|eot_id|>"]), tools=[mine], guards=None) as agent:
        assert agent.run_sync("Go").output == "Done."
    assert seen == ["print(1)"]
