"""One scripted run in each of several agent frameworks: a model without weights, and a tool that answers at once.

Each ``*_steps(steps, clock)`` makes an agent whose model asks for the tool ``steps`` times, and stamps the clock
when the model is entered and left. Each ``*_tokens(count)`` streams an answer of that many tokens and counts the
events that arrive. Everything goes the framework's usual way, with its settings as they come, tracing off. The tool
is an async function where the framework's own loop is async, so that none pays for a thread.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

RESULT = "y" * 200
TOKEN = "word "


class Clock:
    """Processor time at which the model was entered and left, in turn."""

    def __init__(self) -> None:
        self.entered: list[float] = []
        self.left: list[float] = []

    def steps(self) -> list[float]:
        """What stood between one model call's end and the next one's beginning, in microseconds."""
        return [(b - a) * 1e6 for a, b in zip(self.left, self.entered[1:], strict=False)]

    def enter(self) -> int:
        """The model is asked; how often it was by now."""
        self.entered.append(time.process_time())
        return len(self.entered)

    def leave(self) -> None:
        """The model has answered."""
        self.left.append(time.process_time())


def smolagents_steps(steps: int, clock: Clock) -> Callable[[], object]:
    from smolagents import LogLevel, ToolCallingAgent, tool
    from smolagents import models as sm

    @tool
    def look(text: str) -> str:
        """Look.

        Args:
            text: where
        """
        return RESULT

    class Scripted(sm.Model):
        def generate(self, messages: Any, stop_sequences: Any = None, **options: Any) -> Any:
            options.pop("response_format", None)
            self._prepare_completion_kwargs(messages=messages, stop_sequences=stop_sequences, **options)
            number = clock.enter()
            name, arguments = (
                ("look", {"text": str(number)}) if number <= steps else ("final_answer", {"answer": "done"})
            )
            function = sm.ChatMessageToolCallFunction(name=name, arguments=arguments)
            call = sm.ChatMessageToolCall(id=f"c{number}", type="function", function=function)
            usage = sm.TokenUsage(1, 1)
            answer = sm.ChatMessage(
                role=sm.MessageRole.ASSISTANT, content="", token_usage=usage, tool_calls=[call]
            )
            clock.leave()
            return answer

    agent = ToolCallingAgent(
        tools=[look], model=Scripted(model_id="scripted"), max_steps=steps + 5, verbosity_level=LogLevel.OFF
    )
    return lambda: agent.run("go")


def smolagents_tokens(count: int) -> int:
    from smolagents import LogLevel, ToolCallingAgent
    from smolagents import models as sm

    class Scripted(sm.Model):
        def generate_stream(self, messages: Any, **_: Any) -> Any:
            for _number in range(count):
                yield sm.ChatMessageStreamDelta(content=TOKEN)
            function = sm.ChatMessageToolCallFunction(name="final_answer", arguments='{"answer": "done"}')
            call = sm.ChatMessageToolCallStreamDelta(index=0, id="c", type="function", function=function)
            yield sm.ChatMessageStreamDelta(content="", tool_calls=[call])

        def generate(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    agent = ToolCallingAgent(
        tools=[], model=Scripted(model_id="s"), stream_outputs=True, verbosity_level=LogLevel.OFF
    )
    return sum(1 for _ in agent.run("go", stream=True))


def pydantic_ai_steps(steps: int, clock: Clock) -> Callable[[], object]:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.usage import RequestUsage, UsageLimits

    def answer(messages: Any, info: Any) -> Any:
        number = clock.enter()
        call = ToolCallPart("look", {"text": str(number)}, tool_call_id=f"c{number}")
        parts = [call if number <= steps else TextPart("done")]
        response = ModelResponse(parts=parts, usage=RequestUsage(input_tokens=1, output_tokens=1))
        clock.leave()
        return response

    agent = Agent(FunctionModel(answer), system_prompt="You are helpful.")

    @agent.tool_plain
    async def look(text: str) -> str:
        """Look."""
        return RESULT

    return lambda: agent.run_sync("go", usage_limits=UsageLimits(request_limit=None)).output


def pydantic_ai_tokens(count: int) -> int:
    from pydantic_ai import Agent
    from pydantic_ai.models.function import FunctionModel

    async def answer(messages: Any, info: Any) -> Any:
        for _ in range(count):
            yield TOKEN

    async def go() -> int:
        async with Agent(FunctionModel(stream_function=answer)).run_stream_events("go") as events:
            return sum([1 async for _ in events])

    return asyncio.run(go())


def openai_agents_steps(steps: int, clock: Clock) -> Callable[[], object]:
    from agents import Agent, Runner, function_tool, set_tracing_disabled
    from agents.items import ModelResponse
    from agents.models.interface import Model
    from agents.testing import assistant_message, function_call
    from agents.usage import Usage

    set_tracing_disabled(True)

    @function_tool
    async def look(text: str) -> str:
        """Look."""
        return RESULT

    class Scripted(Model):
        async def get_response(self, *_: Any, **__: Any) -> Any:
            number = clock.enter()
            call = function_call("look", {"text": str(number)}, call_id=f"c{number}")
            output = [call if number <= steps else assistant_message("done")]
            response = ModelResponse(output=output, usage=Usage(requests=1), response_id=f"r{number}")
            clock.leave()
            return response

        def stream_response(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    agent = Agent(name="a", instructions="You are helpful.", model=Scripted(), tools=[look])
    return lambda: Runner.run_sync(agent, "go", max_turns=steps + 5).final_output


def openai_agents_tokens(count: int) -> int:
    from agents import Agent, Runner, set_tracing_disabled
    from agents.models.interface import Model
    from agents.testing import assistant_message
    from openai.types import responses as rs

    set_tracing_disabled(True)
    message = assistant_message(TOKEN * count)

    class Scripted(Model):
        async def get_response(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

        async def stream_response(self, *_: Any, **__: Any) -> Any:
            about: Any = {"content_index": 0, "item_id": "m", "output_index": 0, "logprobs": []}
            for number in range(count):
                yield rs.ResponseTextDeltaEvent(
                    type="response.output_text.delta", delta=TOKEN, sequence_number=number, **about
                )
            response = rs.Response(
                id="r",
                created_at=0,
                model="m",
                object="response",
                output=[message],
                tool_choice="auto",
                tools=[],
                parallel_tool_calls=False,
            )
            yield rs.ResponseCompletedEvent(
                type="response.completed", response=response, sequence_number=count
            )

    async def go() -> int:
        run = Runner.run_streamed(Agent(name="a", model=Scripted()), "go")
        return sum([1 async for _ in run.stream_events()])

    return asyncio.run(go())


def langgraph_steps(steps: int, clock: Clock) -> Callable[[], object]:
    from langchain.agents import create_agent
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult
    from langchain_core.tools import tool

    class Scripted(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "scripted"

        def bind_tools(self, tools: Any, **_: Any) -> Any:
            return self

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> Any:
            number = clock.enter()
            calls = [{"name": "look", "args": {"text": str(number)}, "id": f"c{number}"}]
            message = AIMessage("", tool_calls=calls) if number <= steps else AIMessage("done")
            result = ChatResult(generations=[ChatGeneration(message=message)])
            clock.leave()
            return result

    @tool
    def look(text: str) -> str:
        """Look."""
        return RESULT

    graph: Any = create_agent(Scripted(), [look], system_prompt="You are helpful.")
    question = {"messages": [{"role": "user", "content": "go"}]}
    return lambda: graph.invoke(question, {"recursion_limit": 4 * steps + 50})["messages"][-1].content


def langgraph_tokens(count: int) -> int:
    from langchain.agents import create_agent
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    class Scripted(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "scripted"

        def bind_tools(self, tools: Any, **_: Any) -> Any:
            return self

        def _generate(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

        def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> Any:
            for _number in range(count):
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=TOKEN))
                if run_manager:
                    run_manager.on_llm_new_token(TOKEN, chunk=chunk)
                yield chunk

    graph: Any = create_agent(Scripted(), [])
    question = {"messages": [{"role": "user", "content": "go"}]}
    return sum(1 for _ in graph.stream(question, stream_mode="messages"))


def mini_swe_agent_steps(steps: int, clock: Clock) -> Callable[[], object]:
    from minisweagent.agents.default import DefaultAgent
    from minisweagent.exceptions import Submitted
    from minisweagent.models.test_models import DeterministicToolcallModel, make_toolcall_output

    class Scripted(DeterministicToolcallModel):
        def query(self, messages: Any, **_: Any) -> Any:
            number = clock.enter()
            call_id, command = f"c{number}", "look" if number <= steps else "end"
            function = {"name": "bash", "arguments": json.dumps({"command": command})}
            output = make_toolcall_output(
                "",
                [{"id": call_id, "type": "function", "function": function}],
                [{"command": command, "tool_call_id": call_id}],
            )
            clock.leave()
            return output

    class Environment:
        config = None

        def execute(self, action: Any, cwd: str = "") -> Any:
            if action["command"] == "end":
                extra = {"exit_status": "Submitted", "submission": "done"}
                raise Submitted({"role": "exit", "content": "done", "extra": extra})
            return {"output": RESULT, "returncode": 0, "exception_info": ""}

        def get_template_vars(self, **_: Any) -> Any:
            return {}

        def serialize(self) -> Any:
            return {}

    agent = DefaultAgent(
        Scripted(outputs=[]),
        Environment(),
        system_template="You are helpful.",
        instance_template="{{task}}",
        cost_limit=0,
    )
    return lambda: agent.run("go")["submission"]
