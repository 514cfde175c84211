"""What the public evaluation scripts call: arriero's parser behind their signatures.

``parse(text, tools, rec)`` is for replay scoring, ``make(tools)`` for the check of every split. ``rec`` is never
looked at. Tools are OpenAI-style dictionaries; built-in tools come as ``{"type": "builtin", "name": ...}``.
"""

import codecs
from typing import Any

from arriero.prompts.messages import ToolSpec
from arriero.prompts.parser import CallDone, CallParser, ParseEvent
from arriero.prompts.parser import parse as parse_message

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
