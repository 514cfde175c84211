from typing import Any

import pytest

from arriero.prompts import ToolSpec
from arriero.prompts.parser import CallParser, CallSyntax, Malformed, Parsed, TextDelta, parse

WEATHER = ToolSpec(
    name="get_weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    },
)
FACTORIAL = ToolSpec(
    name="math.factorial", parameters={"type": "object", "properties": {"n": {"type": "integer"}}}
)
TOOLS = (WEATHER, FACTORIAL)
TAG = "<|python_tag|>"
JSON = '{"name": "get_weather", "parameters": {"city": "Oslo"}}'
LIST = '[get_weather(city="Oslo")]'
FUNCTION = '<function=get_weather>{"city": "Oslo"}</function>'
SEARCH = 'brave_search.call(query="x")'
OSLO = ("get_weather", {"city": "Oslo"})
FOUND = ("brave_search", {"query": "x"})


def calls(parsed: Parsed) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in parsed.calls]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # JSON
        (JSON, [OSLO]),
        ('{"type": "function", "name": "get_weather", "parameters": {"city": "Oslo"}}', [OSLO]),
        ('{"name": "get_weather", "arguments": {"city": "Oslo"}}', [OSLO]),
        ('{"parameters": {"city": "Oslo"}, "name": "get_weather"}', [OSLO]),
        ('{"type": "function", "function": {"name": "get_weather", "parameters": {"city": "Oslo"}}}', [OSLO]),
        ('{"type": "function", "function": "get_weather", "parameters": {"city": "Oslo"}}', [OSLO]),
        ('{"name": "get_weather", "parameters": "{\\"city\\": \\"Oslo\\"}"}', [OSLO]),
        ('{"name": "get_weather", "parameters": null}', [("get_weather", {})]),
        ('{"name": "get_weather"}', [("get_weather", {})]),
        ("{'name': 'get_weather', 'parameters': {'city': 'Oslo'}}", [OSLO]),
        (f"[{JSON}, {JSON}]", [OSLO, OSLO]),
        (f"{JSON}; {JSON}", [OSLO, OSLO]),
        (f"{JSON}\n{JSON}", [OSLO, OSLO]),
        (f"{JSON}{JSON}", [OSLO, OSLO]),
        (f"{JSON}]", [OSLO]),
        (TAG + JSON, [OSLO]),
        # function tags
        (FUNCTION, [OSLO]),
        (FUNCTION + FUNCTION, [OSLO, OSLO]),
        ('<function=get_weather>{"city": "Oslo"}', [OSLO]),
        ('<function="get_weather"> {"city": "Oslo"}</function>', [OSLO]),
        ("<function=get_weather>{'city': 'Oslo'}</function>", [OSLO]),
        ('<function=get_weather>{"city": "</function>}"}</function>', [("get_weather", {"city": "</function>}"})]),
        ("<function=get_weather></function>", [("get_weather", {})]),
        # lists
        (LIST, [OSLO]),
        (LIST + LIST, [OSLO, OSLO]),
        (f"{LIST}\n{LIST}", [OSLO, OSLO]),
        ('[get_weather(city="Oslo"), get_weather(city="Oslo"),]', [OSLO, OSLO]),
        ('[get_weather("Oslo")]', [OSLO]),
        ('[get_weather({"city": "Oslo"})]', [OSLO]),
        ('[get_weather(**{"city": "Oslo"})]', [OSLO]),
        ('[get_weather(city="Oslo", days=1 + 2)]', [("get_weather", {"city": "Oslo", "days": 3})]),
        ('[get_weather(city="Oslo"', []),
        ('[get_weather(city="Oslo")', [OSLO]),
        ('[[get_weather(city="Oslo")]]', [OSLO]),
        ('get_weather(city="Oslo")', [OSLO]),
        ('get_weather(city="Oslo")\nget_weather(city="Oslo")', [OSLO, OSLO]),
        ("[math.factorial(n='5')]", [("math.factorial", {"n": 5})]),
        ("[f(a=true, b=None, c=[1, 'x'], d={'k': {\"l\": -2.5}})]",
         [("f", {"a": True, "b": None, "c": [1, "x"], "d": {"k": {"l": -2.5}}})]),
        # built-in calls
        (SEARCH, [FOUND]),
        (TAG + SEARCH, [FOUND]),
        (f"{TAG}{SEARCH}\n{SEARCH}", [FOUND, FOUND]),
        (TAG + SEARCH + SEARCH, [FOUND, FOUND]),
        (TAG + 'brave_search.call(query="the "best" (and "worst") phone")',
         [("brave_search", {"query": 'the "best" (and "worst") phone'})]),
        (TAG + 'brave_search.call(query="alert("x")")', [("brave_search", {"query": 'alert("x")'})]),
        (TAG + 'brave_search.call(query="who said \\"eureka\\"")',
         [("brave_search", {"query": 'who said "eureka"'})]),
        (TAG + 'brave_search.call(query="C:\\new")', [("brave_search", {"query": "C:\\new"})]),
        (TAG + "brave_search.call( query = 'it's' )", [("brave_search", {"query": "it's"})]),
        (TAG + 'brave_search.call("x")', [FOUND]),
        (TAG + 'brave_search.call(query="x", count="3")', [("brave_search", {"query": "x", "count": "3"})]),
        (TAG + 'brave_search.call(query="x", count=3)', [("brave_search", {"query": "x", "count": 3})]),
        (TAG + 'get_weather.call(city="Oslo", days="3")', [("get_weather", {"city": "Oslo", "days": 3})]),
        (TAG + 'unknown.call(query="x")', [("unknown", {"query": "x"})]),
        (TAG + 'code_interpreter.call(code="print("a\nb")")',
         [("code_interpreter", {"code": 'print("a\nb")'})]),
        (TAG + 'code_interpreter.call(code="import math\\nprint(1)")',
         [("code_interpreter", {"code": "import math\nprint(1)"})]),
        # what real outputs put around calls
        (f"<|start_header_id|>assistant<|end_header_id|>\n\n{JSON}", [OSLO]),
        (f"**{LIST}**", [OSLO]),
        (f"```json\n{JSON}\n```", [OSLO]),
        (f"```\n{LIST}\n```\n```\n{LIST}\n```", [OSLO, OSLO]),
        (f"```\n{SEARCH}\n```", [FOUND]),
        (f"\n{TAG}{TAG}{JSON}", [OSLO]),
        (f"<|python_start|>{JSON}<|python_end|>", [OSLO]),
    ],
)  # fmt: skip
def test_reads_every_form_without_being_told_which(text: str, expected: list[Any]) -> None:
    parsed = parse(text, TOOLS)
    assert calls(parsed) == expected
    assert parsed.text == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"Sure! {JSON}", "Sure! "),
        (f"{JSON} Let me know!", " Let me know!"),
        (f"{JSON}\n\nthis is it", "\n\nthis is it"),
        (f"Let me check the weather: {LIST}", "Let me check the weather: "),
        (f"Here are the function calls:\n{LIST}", "Here are the function calls:\n"),
        (f"I'll check. {FUNCTION}", "I'll check. "),
        (f"One moment.\n{JSON}", "One moment.\n"),
        (f"Let me see. {TAG}{LIST} thanks", "Let me see.  thanks"),
    ],
)
def test_keeps_the_text_around_calls(text: str, said: str) -> None:
    parsed = parse(text, TOOLS)
    assert calls(parsed) == [OSLO]
    assert parsed.text == said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris.",
        "   indented  ",
        "[]",
        "[1, 2, 3]",
        "{}",
        '{"answer": 42}',
        '{"name": "Bob", "age": 3}',
        "{'text': 'x'} is a Python dict",
        "get_weather is a tool",
        "print('x')",
        "unknown_tool(x=1)",
        "```python\nprint(1)\n```",
        f"You could write {JSON} to do that.",
        f"The format is: {JSON}",
        f"For example:\n\n{JSON}\n\nThis returns the weather.",
        f"Example:\n{JSON}",
        f"Here is an example.\n```json\n{JSON}\n```",
        f"```json\n{JSON}\n```\nThis is how you call it.",
        f"Use `{JSON}` for that.",
        f"`{LIST}`",
        f"{LIST} is the call.",
        f"{JSON} is how you call it",
        f"To search, use {SEARCH}.",
        f"To search:\n{SEARCH}",
        f"You can use:\n\n{SEARCH}\n\nfor this.",
        f"{SEARCH} is the syntax.",
        f"Look here.\n> {JSON}",
        f"Look here.\n\n    {JSON}",
        f'He said. "{JSON}"',
        f"1. {JSON}",
        f"In Llama, e.g. {FUNCTION}",
        f"Write {FUNCTION} to call it.",
        f"Sure! {JSON} would be the call.",
        f"```python\n{SEARCH}\n```\nThis searches.",
        f"```python\nx = 1\n{SEARCH}\n```",
        'Sure! {"name": "no_such_tool", "parameters": {}}',
    ],
)
def test_leaves_text_and_quotations_alone(text: str) -> None:
    parsed = parse(text, TOOLS)
    assert parsed == Parsed(text, (), (), None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TAG + 'brave_search.call(query="abc', "incomplete or oddly quoted"),
        (TAG + "brave_search.call(query=abc)", "incomplete or oddly quoted"),
        (TAG + 'brave_search.call(query="say "hi") to me', "incomplete or oddly quoted"),
        (TAG + "brave_search.ca", "incomplete"),
        (TAG + "brave_search.call", "incomplete"),
        (TAG + '{"name": "get_wea', "ends before it is complete"),
        (TAG + '{"name": "f", "parameters": {}, "name": 5}', "contradicts itself"),
        (TAG + '[get_weather(city="Os', "ends before it is complete"),
        (TAG + 'get_weather(city="Os', "ends before it is complete"),
        (TAG + '<function=get_weather>{"ci', "ends before it is complete"),
        (TAG + " \n", "nothing follows"),
        ('brave_search.call(query="abc', "incomplete or oddly quoted"),
        (JSON[:-4], "ends before it is complete"),
        (JSON + "}", "a brace too many"),
        ('{"name": "f", "parameters": {"a": [1}}', "brackets do not match"),
        ('{"name": "f", "parameters": {"a": 1,}}', "not valid JSON"),
        ('{"name": "f", "parameters": {"a": NaN}}', "NaN is not JSON"),
        ('{"name": "f", "parameters": {"a": 1e999}}', "finite"),
        ('{"name": "f", "parameters": {"a": "\\ud800"}}', "not valid JSON"),
        ('[get_weather(city="\\ud800")]', "names no character"),
        ('{"name": "f", "parameters": [1, 2]}', "must be an object"),
        (f'[{JSON}, {{"a": 1}}]', "not every element"),
        ('{"name": "f", "parameters": ' + '{"a": ' * 200, "nested too deeply"),
        ("<function=get_weather", "incomplete"),
        ("<function=get_weather>(1)", "no arguments"),
        ("<function=get_weather>{a}</function>", "cannot be read"),
        ('[get_weather(city="Oslo"), 42]', "expected a name"),
        ("[get_weather(city=Oslo)]", "a name, not a value"),
        ("[get_weather(city=b'Oslo')]", "bytes"),
        ("[get_weather(city=f'{x}')]", "formatted"),
        ('[get_weather(city="a", city="b")]', "given twice"),
        ('[get_weather("a", 1, 2)]', "must be named"),
        ("[get_weather(days=1e999)]", "finite"),
        ("[get_weather(days=9" + "*9" * 5000 + ")]", "too large"),
        ("[get_weather(days=1/0)]", "zero"),
        ('[get_weather(city="Oslo"]', "do not match"),
        ("get_weather(city)", "a name, not a value"),
    ],
)
def test_what_was_meant_as_a_call_and_is_none_is_malformed(text: str, reason: str) -> None:
    parsed = parse(text, TOOLS)
    assert parsed.calls == ()
    assert len(parsed.malformed) == 1
    assert reason in parsed.malformed[0].reason
    assert parsed.malformed[0].raw in text


@pytest.mark.parametrize(
    "code",
    [
        "print(2+2)",
        "\n\ndef f(n):\n    return n\n",
        "s = 'brave_search.call(query=\"x\")'\nprint(len(s))",
        "t = '<function=f>{\"a\": 1}</function>'",
        f"# {JSON}\nprint(1)",
        f'"""\n{JSON}\n"""',
        '{"a": 1}["a"]',
        "[1, 2]",
        "[print(x=i) for i in range(3)]",
        "print([f(x=1) for x in y])",
        'client.call(query="x")\nprint(2)',
        'x = brave_search.call(query="a")\nprint(x)',
        f"print('{TAG}')",
        "y",
    ],
)
def test_free_text_behind_the_tag_is_code_as_written(code: str) -> None:
    parsed = parse(TAG + code + "<|eom_id|>", TOOLS)
    assert calls(parsed) == [("code_interpreter", {"code": code})]
    assert parsed.calls[0].syntax is CallSyntax.CODE
    assert parsed.end == "eom"


def test_a_fence_around_the_whole_program_is_taken_off() -> None:
    assert calls(parse(f"{TAG}```python\nprint(8)\n```")) == [("code_interpreter", {"code": "print(8)"})]


def test_code_is_malformed_where_none_can_be_run() -> None:
    parsed = parse(TAG + "print(1)", TOOLS, code=False)
    assert parsed.calls == ()
    assert "no tool that runs code" in parsed.malformed[0].reason
    assert calls(parse(TAG + JSON, TOOLS, code=False)) == [OSLO]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("Bye.<|eot_id|><|eot_id|>", "eot"),
        ("Bye.<|eom_id|>", "eom"),
        ("Bye.<|end_of_text|>", "eot"),
        ("Bye.<|eot|>rest", "eot"),
        ("Bye.", None),
    ],
)
def test_the_first_stop_token_ends_the_message(text: str, end: str | None) -> None:
    assert parse(text) == Parsed("Bye.", (), (), end)


def test_without_known_tools_only_the_explicit_forms_count_behind_a_colon() -> None:
    assert calls(parse(f"Here you go: {JSON}")) == [OSLO]
    assert calls(parse(f"Here you go: {LIST}")) == []
    assert calls(parse(f"Here you go: {SEARCH}")) == []
    assert calls(parse('get_weather(city="Oslo")')) == []


def test_arguments_stay_as_written_without_coercion() -> None:
    text = '{"name": "get_weather", "parameters": {"days": "3"}}'
    assert parse(text, TOOLS).calls[0].arguments == {"days": 3}
    assert parse(text, TOOLS, coerce=False).calls[0].arguments == {"days": "3"}


def test_text_is_not_held_back_once_it_can_be_no_call() -> None:
    parser = CallParser(TOOLS)
    said = []
    for piece in ("The ", "answer ", "is ", "4", ". ", "Use ", "`f(x)`", " or ", "a <", "b."):
        said.append("".join(event.text for event in parser.feed(piece) if isinstance(event, TextDelta)))
    assert "".join(said) == "The answer is 4. Use `f(x)` or a <b."
    assert said == ["The ", "answer ", "is ", "4", ". ", "Use ", "`f(x)", "` or ", "a ", "<b."]


def test_code_streams_while_it_is_written() -> None:
    parser = CallParser()
    assert parser.feed(TAG) == []
    opened = parser.feed("x = 1\n")
    assert [type(event).__name__ for event in opened] == ["CallOpened", "ArgumentsDelta"]
    assert [type(event).__name__ for event in parser.feed("print(x)")] == ["ArgumentsDelta"]
    assert [type(event).__name__ for event in parser.finish()] == ["CallDone"]
    assert parser.feed("more") == []
    assert parser.finish() == []


def test_a_json_call_behind_the_tag_streams_once_its_name_is_known() -> None:
    parser = CallParser(TOOLS)
    assert parser.feed(TAG + '{"name": "get_weather", ') == []
    opened = parser.feed('"parameters": {"city": ')
    assert [type(event).__name__ for event in opened] == ["CallOpened", "ArgumentsDelta"]
    assert [type(event).__name__ for event in parser.feed('"Os')] == ["ArgumentsDelta"]
    assert [type(event).__name__ for event in parser.feed('lo"}}') + parser.finish()][-1] == "CallDone"
    broken = CallParser(TOOLS)
    broken.feed(TAG + '{"name": "get_weather", "parameters": {"city": ')
    assert [type(event).__name__ for event in broken.finish()][-1] == "Malformed"


def test_calls_are_numbered_in_order() -> None:
    parsed = parse(f"{JSON}\n{JSON}")
    assert [call.index for call in parsed.calls] == [0, 1]
    assert not any(isinstance(event, Malformed) for event in parsed.calls)
