"""The agent's surface: putting one together, running it in every way, and its doubles."""

import asyncio
import threading
from typing import Any

import pytest

from arriero.agent import Agent, ConfigError, Limits
from arriero.agent.backends import FunctionModel, ScriptedModel
from arriero.agent.events import RunFinished
from arriero.prompts import ToolSpec, UnknownDialect
from arriero.tools import Tool, ToolContext, ToolResult


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


CALL = '{"name": "add", "parameters": {"a": 2, "b": 3}}<|eom_id|>'


def test_a_plain_function_is_a_tool() -> None:
    model = ScriptedModel([CALL, "Five.<|eot_id|>"])
    with Agent(model, tools=[add]) as agent:
        result = agent.run_sync("2 + 3?")
    assert result.output == "Five."
    assert '"name": "add"' in model.prompts[0]
    assert "ipython<|end_header_id|>\n\n5<|eot_id|>" in model.prompts[1]


def test_the_asynchronous_way() -> None:
    async def main() -> None:
        async with Agent(ScriptedModel([CALL, "Five.<|eot_id|>"]), tools=[add]) as agent:
            result = await agent.run("2 + 3?")
            assert result.output == "Five."
            assert result.stop_reason == "final"
            assert result.usage.tool_calls == 1

    asyncio.run(main())


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two tools are called 'add'"):
        Agent(ScriptedModel([]), tools=[add, add])


def test_deps_of_another_type_are_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="deps should be of int, and are of str"):
        Agent(ScriptedModel([]), deps_type=int, deps="Ana")
    model = ScriptedModel(["Hi.<|eot_id|>"])
    with Agent(model, deps_type=int) as agent:
        conversation = agent.conversation()
        with pytest.raises(ConfigError, match="deps should be of int"):
            agent.run_sync("Hello", deps="Ana", conversation=conversation)  # type: ignore[arg-type]
        assert agent.run_sync("Hello", deps=3, conversation=conversation).output == "Hi."


def test_an_unknown_dialect_is_refused_with_the_closest_name() -> None:
    with pytest.raises(UnknownDialect, match=r"did you mean .llama3\.1."):
        Agent(ScriptedModel([]), dialect="lama3.1")


def test_the_model_is_told_when_nothing_runs_python() -> None:
    model = ScriptedModel(["Hi.<|eot_id|>"] * 2)
    with Agent(model, tools=[add]) as agent:
        agent.run_sync("hi")
    assert "You are a helpful assistant. Python is not available.<|eot_id|>" in model.prompts[0]
    with Agent(model) as agent:
        agent.run_sync("hi")
    assert "Python" not in model.prompts[1]


def test_runs_side_by_side_keep_their_conversations_apart() -> None:
    async def answer(prompt: str) -> str:
        await asyncio.sleep(0.01)
        return prompt.rsplit("user<|end_header_id|>\n\n", 1)[1].split("<|eot_id|>")[0] + "!<|eot_id|>"

    async def main() -> list[str]:
        async with Agent(FunctionModel(answer)) as agent:
            results = await asyncio.gather(*(agent.run(f"number {n}") for n in range(20)))
        return [result.output for result in results]

    assert asyncio.run(main()) == [f"number {n}!" for n in range(20)]


def test_close_leaves_no_thread() -> None:
    before = threading.active_count()
    agent = Agent(ScriptedModel(["Hi.<|eot_id|>"]))
    agent.run_sync("hi")
    agent.close()
    agent.close()
    assert threading.active_count() == before


def test_what_one_tool_raises_when_it_is_closed_keeps_nothing_else_open() -> None:
    closed: list[str] = []

    class Closing(Tool):
        def __init__(self, name: str) -> None:
            self.spec = ToolSpec(name=name)

        async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
            return ToolResult("")

        async def aclose(self) -> None:
            closed.append(self.name)
            raise OSError(f"{self.name} cannot be closed")

    class Closed(ScriptedModel):
        async def aclose(self) -> None:
            closed.append("model")

    before = threading.active_count()
    agent = Agent(Closed([]), tools=[Closing("a"), Closing("b")])
    with pytest.raises(OSError, match="cannot be closed"):
        agent.close()
    assert sorted(closed) == ["a", "b", "model"]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_steps", -1), ("max_seconds", -0.5), ("max_retries", -1), ("tool_timeout", 0), ("max_repeats", -3)],
)
def test_limits_below_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} should be a positive number, and is {value}"):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_a_blocking_run_inside_a_running_loop() -> None:
    async def work() -> str:
        with Agent(ScriptedModel(["Hi.<|eot_id|>"])) as agent:
            return agent.run_sync("Hello").output

    assert asyncio.run(work()) == "Hi."


def test_a_script_that_was_not_used_up_is_noticed() -> None:
    model = ScriptedModel(["One.<|eot_id|>", "Two.<|eot_id|>"])
    with Agent(model) as agent:
        agent.run_sync("hi")
    with pytest.raises(AssertionError, match="1 of 2 scripted answers were not used"):
        model.assert_complete()


def test_stream_sync_ends_with_run_finished_in_a_thread_with_a_running_loop() -> None:
    async def main() -> RunFinished:
        with Agent(ScriptedModel(["Hi.<|eot_id|>"])) as agent:
            last = list(agent.stream_sync("hi"))[-1]
        assert isinstance(last, RunFinished)
        return last

    assert asyncio.run(main()).output == "Hi."
