import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.prompts import ToolSpec
from arriero.prompts.parser import (
    ArgumentsDelta,
    CallParser,
    CallSyntax,
    ParseEvent,
    TextDelta,
    parse,
)

TOOLS = (
    ToolSpec(name="f", parameters={"type": "object", "properties": {"x": {"type": "integer"}, "y": {}}}),
    ToolSpec(name="a.b"),
)
TOKENS = """
<|python_tag|> <|eot_id|> <|eom_id|> <|start_header_id|>assistant<|end_header_id|> <|python_end|> <|py <|eot < <|
{ } }} [ ] ( ) " ' \\ \\" , ; : ` ``` ** * - 1 1e5 true null x= f( a.b( f(x=1) [f(x=1)] . ! é 😀 word Use Sure!
"name" "parameters" "name": "parameters": {"a":1} <function=f> </function> <function= > query print("hi")
brave_search.call(query=" ") brave_search .call(
"""
SPACED = (" ", "\n", "\n\n", "    ", ". ", "Let me check: ", "```json\n")
PIECES = [*TOKENS.split(), *SPACED, '"' * 3, "'" * 3, '{"name": "f", "parameters": {"x": "1"}}']

messages = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=30)


def merged(events: list[ParseEvent]) -> list[ParseEvent]:
    """The events with adjacent deltas joined: what must not depend on how the text was cut."""
    result: list[ParseEvent] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta):
            result[-1] = TextDelta(last.text + event.text)
        elif (
            isinstance(event, ArgumentsDelta)
            and isinstance(last, ArgumentsDelta)
            and last.index == event.index
        ):
            result[-1] = ArgumentsDelta(event.index, last.text + event.text)
        else:
            result.append(event)
    return result


def events(pieces: list[str], tools: tuple[ToolSpec, ...]) -> list[ParseEvent]:
    parser = CallParser(tools)
    found = [event for piece in pieces for event in parser.feed(piece)]
    return merged(found + parser.finish())


@settings(max_examples=150, deadline=None)
@given(messages, st.data(), st.sampled_from([TOOLS, ()]))
def test_any_cut_reads_alike(text: str, data: st.DataObject, tools: tuple[ToolSpec, ...]) -> None:
    whole = events([text], tools)
    assert events(list(text), tools) == whole
    cut = data.draw(st.integers(0, len(text)))
    assert events([text[:cut], "", text[cut:]], tools) == whole


names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(
    lambda name: name not in {"true", "false", "null"}
)
strings = st.text(max_size=12) | st.sampled_from(PIECES)
texts = strings.filter(lambda text: not any(end in text for end in ("<|eot", "<|eom", "<|end_of")))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(names, values, max_size=4)
some_calls = st.lists(st.tuples(names, arguments), min_size=1, max_size=3)


def keywords(given: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in given.items())


def written(syntax: str, called: list[tuple[str, dict[str, Any]]]) -> str:
    """The calls as a model writes them."""
    if syntax == "function_tag":
        return "".join(f"<function={name}>{json.dumps(given)}</function>" for name, given in called)
    if syntax == "pythonic":
        return "[" + ", ".join(f"{name}({keywords(given)})" for name, given in called) + "]"
    objects = [json.dumps({"name": name, "parameters": given}, ensure_ascii=False) for name, given in called]
    if syntax == "json_array":
        return f"[{', '.join(objects)}]"
    return {"json_semicolon": "; ", "json_newline": "\n", "json_adjacent": ""}[syntax].join(objects)


@pytest.mark.parametrize(
    "syntax",
    ["json_semicolon", "json_newline", "json_adjacent", "json_array", "function_tag", "pythonic"],
)
@pytest.mark.parametrize("tag", ["", "<|python_tag|>"])
@settings(max_examples=25, deadline=None)
@given(called=some_calls)
def test_what_is_written_is_read_back(
    syntax: str, tag: str, called: list[tuple[str, dict[str, Any]]]
) -> None:
    parsed = parse(tag + written(syntax, called))
    assert [(call.name, call.arguments) for call in parsed.calls] == called
    assert (parsed.text, parsed.malformed) == ("", ())


@settings(max_examples=50, deadline=None)
@given(texts.filter(lambda text: "\\" not in text and "')" not in text and '")' not in text))
def test_raw_queries_are_read_back(query: str) -> None:
    parsed = parse(f'<|python_tag|>brave_search.call(query="{query}")<|eom_id|>')
    assert [(call.name, call.arguments) for call in parsed.calls] == [("brave_search", {"query": query})]


@settings(max_examples=50, deadline=None)
@given(texts.filter(lambda text: text.strip() and "python_" not in text))
def test_programs_are_read_back(text: str) -> None:
    code = f"x = 1\n{text}"
    call = parse(f"<|python_tag|>{code}<|eom_id|>").calls[0]
    assert (call.syntax, call.arguments) == (CallSyntax.CODE, {"code": code})


MEGABYTE = 1_000_000
HOSTILE = {
    "brackets": "[",
    "objects": '{"a":',
    "call objects": '{"name":',
    "lines of brackets": "\n[",
    "lines of objects": '\n{"name',
    "function tags": "<function=",
    "open arguments": "<function=f>{",
    "lists": "[f(x=",
    "list strings": '[f(x="',
    "built-in calls": 'brave_search.call(query="',
    "built-in ends": 'brave_search.call(query="")',
    "spaces": " ",
    "quotes and spaces": '" ',
    "fences": "```json\n",
    "headers": "<|start_header_id|>",
    "tags": "<|python_tag|>",
    "sentences": "a. {",
    "angles": "<|",
    "backslashes": "\\",
    "calls": '{"name": "f", "parameters": {"x": "1"}}',
    "lists of calls": "[f(x=1)]\n",
    "numbers": "9",
    "sums": "1+",
    "escapes": "\\u",
}


@pytest.mark.parametrize("before", ["", "<|python_tag|>", '{"name": "', "[f(x=", 'brave_search.call(query="'])
@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_costs_linear_time(unit: str, before: str) -> None:
    def seconds(size: int) -> float:
        text = before + unit * (size // len(unit))
        best = math.inf  # of three, since the collector of garbage may come in between
        for _ in range(3):
            start = time.process_time()
            parse(text, TOOLS)
            best = min(best, time.process_time() - start)
        return best

    small, large = seconds(MEGABYTE // 400), seconds(MEGABYTE // 50)
    # eight times the text: quadratic cost would be 64 times as high
    assert large < 0.02 or large < 30 * small


@pytest.mark.parametrize("text", ["[" * MEGABYTE, '{"a":' * 100_000, '{"name": "' + "a" * MEGABYTE])
def test_a_megabyte_is_read_in_seconds(text: str) -> None:
    start = time.process_time()
    parse(text, TOOLS)
    assert time.process_time() - start < 10


def test_single_characters_cost_linear_time() -> None:
    def seconds(size: int) -> float:
        parser = CallParser(TOOLS)
        start = time.process_time()
        for _ in range(size):
            parser.feed("a")
        parser.finish()
        return time.process_time() - start

    parser_time = seconds(3_000), seconds(30_000)
    assert parser_time[1] < 40 * parser_time[0] + 0.05
