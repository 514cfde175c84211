"""What the public evaluation scripts call: arriero's parser behind their signatures.

``parse(text, tools, rec)`` is for replay scoring, ``make(tools)`` for the check of every split; ``rec`` is never
looked at. ``agent`` and ``run_agent`` play recorded tasks through the loop.
Tools are OpenAI-style dictionaries; built-in tools come as ``{"type": "builtin", "name": ...}``.
"""

import codecs
from collections.abc import Callable
from typing import Any

from arriero import Agent, FunctionModel, Limits, Tool, ToolResult
from arriero.prompts.messages import ToolSpec
from arriero.prompts.parser import CallDone, CallParser, ParseEvent
from arriero.prompts.parser import parse as parse_message
from arriero.tools import ToolContext

Call = dict[str, Any]


_known: dict[int, tuple[list[dict[str, Any]], list[ToolSpec]]] = {}


def specs(tools: list[dict[str, Any]]) -> list[ToolSpec]:
    """The tools as arriero describes them; built-in ones are known without a description."""
    seen, found = _known.get(id(tools), (None, []))
    if seen is tools:
        return found
    functions = [tool["function"] for tool in tools if tool.get("type") == "function"]
    found = [
        ToolSpec(
            name=function["name"],
            description=function.get("description") or "",
            parameters=function.get("parameters") or {},
        )
        for function in functions
    ]
    _known[id(tools)] = tools, found  # a program describes its tools once, not once per message
    return found


def _plain(calls: list[CallDone]) -> list[Call]:
    return [{"name": call.name, "arguments": call.arguments} for call in calls]


def parse(text: str, tools: list[dict[str, Any]], rec: object = None) -> list[Call]:
    """The calls of a whole message."""
    return _plain(list(parse_message(text, specs(tools)).calls))


class Stream:
    """A message that arrives in pieces of bytes, cut anywhere, inside characters too."""

    def __init__(self, tools: list[dict[str, Any]]) -> None:
        self._parser = CallParser(specs(tools))
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._events: list[ParseEvent] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._events += self._parser.feed(self._decoder.decode(data))

    def finish(self) -> list[Call]:
        """The calls of the whole message."""
        self._events += self._parser.feed(self._decoder.decode(b"", final=True))
        self._events += self._parser.finish()
        return _plain([event for event in self._events if isinstance(event, CallDone)])


def make(tools: list[dict[str, Any]]) -> Stream:
    """A new stream for one message."""
    return Stream(tools)


class _Recorded(Tool):
    """A tool whose answers come from the suite."""

    def __init__(self, spec: ToolSpec, execute: Callable[[str, dict[str, Any]], str]) -> None:
        self.spec = spec
        self._execute = execute

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult(self._execute(self.name, arguments))


class _Served(dict[str, Tool]):
    """Also serves tools that a suite left out: it infers them from arguments, and some calls have none."""

    def __init__(self, tools: dict[str, Tool], execute: Callable[[str, dict[str, Any]], str]) -> None:
        super().__init__(tools)
        self._execute = execute

    def get(self, name: str, default: Any = None) -> Tool:
        return self[name]

    def __missing__(self, name: str) -> Tool:
        return _Recorded(ToolSpec(name=name), self._execute)


# A recorded trajectory may be long, repeat itself and hold long results; none of that is under test here.
_LIMITS = Limits(max_steps=500, max_repeats=500, max_output_chars=10**9)


def agent(
    tools: list[dict[str, Any]],
    user: str,
    model: Callable[[list[dict[str, str]]], str],
    execute: Callable[[str, dict[str, Any]], str],
) -> list[dict[str, str]]:
    """One task through arriero's own loop; ``model`` sees the messages and answers with raw text."""
    return run_agent("", tools, [[{"role": "user", "content": user}]], model, execute)


def run_agent(
    system: str,
    tools: list[dict[str, Any]],
    turns: list[list[dict[str, str]]],
    model: Callable[[list[dict[str, str]]], str],
    execute: Callable[[str, dict[str, Any]], str],
) -> list[dict[str, str]]:
    """A conversation of several turns through arriero's own loop; returns its messages."""

    def messages() -> list[dict[str, str]]:
        return [{"role": message.role, "content": message.content} for message in conversation.messages]

    served = [_Recorded(spec, execute) for spec in specs(tools)]
    with Agent(
        FunctionModel(lambda prompt: model(messages())), instructions=system, tools=served, limits=_LIMITS
    ) as driver:
        driver.tools = _Served(driver.tools, execute)
        conversation = driver.conversation()
        for turn in turns:
            getattr(model, "start_turn", lambda: None)()
            text = "\n".join(message["content"] for message in turn)
            result = driver.run_sync(text, conversation=conversation)
            if result.error:
                raise RuntimeError(result.error)
        return messages()
