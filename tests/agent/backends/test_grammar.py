"""What the grammar lets through is what the parser reads and the schema allows, and it costs prose nothing."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arriero.agent.backends import Constraint, LlamaCppModel, ModelError, Sampling, Token
from arriero.agent.backends.grammar import Grammars, Guide
from arriero.agent.backends.grammar.openers import Openers
from arriero.agent.backends.grammar.schemas import json_rule, narrow
from arriero.agent.backends.vocab import Vocab
from arriero.agent.models import bundled_model
from arriero.prompts import Segment, ToolSpec
from arriero.prompts.parser import parse
from arriero.tools.arguments import argument_error

SEARCH = ToolSpec(
    name="brave_search",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
)
WEATHER = ToolSpec(
    name="weather.v2",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 1, "maxLength": 12},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
        },
        "required": ["city"],
    },
)
ORDER = ToolSpec(
    name="order",
    parameters={
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "minItems": 1,
                "maxItems": 3,
                "items": {
                    "type": "object",
                    "properties": {
                        "sku": {"type": "string", "pattern": r"^[A-Z]{3}-\d{4}$"},
                        "price": {"type": "number"},
                    },
                    "required": ["sku"],
                },
            },
            "gift": {"type": "boolean"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "more": {"type": "object"},
        },
        "required": ["items", "gift"],
    },
)
PICK = ToolSpec(
    name="pick",
    parameters={
        "type": "object",
        "properties": {"x": {"type": ["integer", "null"]}, "y": {"enum": ['a"b', "c/d", True, 3]}, "any": {}},
        "required": ["y"],
        "additionalProperties": False,
    },
)
NOW = ToolSpec(name="now")
CODE = ToolSpec(
    name="code_interpreter",
    parameters={"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
)
TOOLS = (SEARCH, WEATHER, ORDER, PICK, NOW)


@pytest.fixture(scope="module")
def words() -> Iterator[Vocab]:
    """The bundled model's vocabulary of 1,024 tokens."""
    loaded = Vocab.from_gguf(bundled_model())
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def grammars(words: Vocab) -> Grammars:
    return Grammars(words)


def fits(grammars: Grammars, words: Vocab, text: str, constraint: Constraint) -> bool:
    """Whether a message may be ``text``, all of it and no more."""
    guide = Guide(grammars.compile(constraint))
    for token in tokens(words, text):
        if not guide.accepts(token):
            return False
        guide.take(token)
    return guide.accepts(words.special("<|eot_id|>"))


def tokens(words: Vocab, text: str) -> list[int]:
    tag, _, rest = text.rpartition("<|python_tag|>")
    return [
        *words.encode(tag),
        *([words.special("<|python_tag|>")] if rest != text else []),
        *words.encode(rest),
    ]


RIGHT = (
    '{"name": "weather.v2", "parameters": {"city": "Oslo", "days": 3}}',
    '{"type": "function", "name": "weather.v2", "parameters": {"city": "Oslo"}}',
    '{ "name": "now", "arguments": {}}',
    '{"name": "now", "parameters": {}}; {"name": "now", "parameters": {}}',
    '[{"name": "now", "parameters": {}}]',
    "<function=now>{}</function>",
    "[weather.v2(city=\"Oslo\", unit='celsius'), now()]",
    "now()",
    '[order(items=[{"sku": "ABC-1234", "price": 1.5}], gift=True, note=None)]',
    "[pick(x=None, y='c/d')]",
    'brave_search.call(query="llamas of Peru")',
    '<|python_tag|>brave_search.call(query="llamas")',
    '<|python_tag|>{"name": "now", "parameters": {}}',
    '```json\n{"name": "now", "parameters": {}}\n```',
    'Let me look.\n{"name": "now", "parameters": {}}',
)
WRONG = (
    '{"name": "nope", "parameters": {}}',
    '{"name": "weather.v2", "parameters": {"city": ""}}',
    '{"name": "weather.v2", "parameters": {"city": "Oslo", "days": 15}}',
    '{"name": "weather.v2", "parameters": {"city": "Oslo", "other": 1}}',
    '{"name": "weather.v2", "parameters": {"days": 3}}',
    '{"name": "order", "parameters": {"items": [], "gift": true}}',
    '{"name": "order", "parameters": {"items": [{"sku": "abc"}], "gift": true}}',
    '{"name": "pick", "parameters": {"y": 1e999}}',
    '{"name": "now", "parameters": {}',
    "<function=nope>{}</function>",
    "[nope()]",
    "[weather.v2(city=5)]",
    "[weather.v2(city='a thousand letters')]",
    '{"name": "now", "parameters": {}} and so on',
    "<|python_tag|>print(1)",
)
PROSE = (
    "The answer is 42 (forty-two).",
    "A list: [1, 2, 3] and a link [here](there).",
    '{"city": "Oslo", "degrees": 21}',
    '{"id": 7, "type": "house"}',
    'As in `{"name": "now", "parameters": {}}`, which calls nothing.',
    'For example, you could write {"name": "now", "parameters": {}} here.',
    "Use <b>bold</b> now (if you can).",
)


@pytest.mark.parametrize("text", RIGHT)
def test_right_calls_can_be_written_and_are_read_as_such(grammars: Grammars, words: Vocab, text: str) -> None:
    assert fits(grammars, words, text, Constraint(TOOLS))
    read = parse(text, TOOLS, code=False)
    assert read.calls
    assert not read.malformed
    specs = {tool.name: tool for tool in TOOLS}
    assert all(argument_error(specs[call.name], call.arguments) is None for call in read.calls)


@pytest.mark.parametrize("text", WRONG)
def test_wrong_calls_cannot_be_written(grammars: Grammars, words: Vocab, text: str) -> None:
    assert not fits(grammars, words, text, Constraint(TOOLS))


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_free(grammars: Grammars, words: Vocab, text: str) -> None:
    assert fits(grammars, words, text, Constraint(TOOLS))


@pytest.mark.parametrize("program", ["print(1)", "x = [f(a) for a in b]\nx", "{1: 2}", "# now()\nnow = 3"])
def test_code_is_free_where_it_can_run(grammars: Grammars, words: Vocab, program: str) -> None:
    assert fits(grammars, words, f"<|python_tag|>{program}", Constraint((*TOOLS, CODE)))


def test_a_call_behind_the_tag_is_held_even_where_code_can_run(grammars: Grammars, words: Vocab) -> None:
    assert not fits(
        grammars, words, '<|python_tag|>{"name": "nope", "parameters": {}}', Constraint((*TOOLS, CODE))
    )
    assert not fits(grammars, words, "<|python_tag|>", Constraint((*TOOLS, CODE)))


def test_a_required_call_leaves_no_prose(grammars: Grammars, words: Vocab) -> None:
    constraint = Constraint(TOOLS, required=True)
    assert not fits(grammars, words, "Hello", constraint)
    assert fits(grammars, words, '{"name": "now", "parameters": {}}', constraint)
    assert fits(grammars, words, "<|python_tag|>now()", constraint)


def test_an_answer_has_its_schema_or_is_a_call(grammars: Grammars, words: Vocab) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    constraint = Constraint(TOOLS, answer=schema)
    assert fits(grammars, words, '{"ok": true}', constraint)
    assert fits(grammars, words, "[now()]", constraint)
    assert not fits(grammars, words, '{"ok": 1}', constraint)
    assert not fits(grammars, words, "[now()]", Constraint((), answer=schema))
    assert not fits(grammars, words, "Fine.", constraint)


def test_what_has_no_choice_is_forced(grammars: Grammars, words: Vocab) -> None:
    guide = Guide(grammars.compile(Constraint((WEATHER,))))
    written = [*words.encode('{"name":')]
    for token in written:
        assert guide.accepts(token)
        guide.take(token)
    text = b"".join(words.piece(token) for token in guide.forced()).decode()
    assert text == ' "weather.v2", "'  # parameters or arguments


def random_message(
    grammars: Grammars, words: Vocab, constraint: Constraint, start: str, seed: int
) -> str | None:
    """A message of uniformly random tokens behind ``start``; None if it does not end within 250 of them."""
    rng = np.random.default_rng(seed)
    guide = Guide(grammars.compile(constraint))
    due = tokens(words, start)
    stops = [words.special("<|eot_id|>"), words.special("<|eom_id|>")]
    closers = np.array(
        [token for token in range(words.size) if words.piece(token)[:1] in (b'"', b"'", b"]", b"}")]
    )
    written: list[int] = []
    while len(written) < 250:
        drawn = rng.choice(closers) if rng.random() < 0.1 else rng.integers(words.size)
        token = due.pop(0) if due else int(rng.choice(stops) if rng.random() < 0.03 else drawn)
        if not guide.accepts(token):
            due = []
            token = another(guide, token, rng, words.size, stops, closers)
        guide.take(token)
        if token in stops:
            return b"".join(map(words.piece, written)).decode("utf-8", "replace")
        written += [token, *guide.forced()]
    return None


def another(guide: Guide, token: int, rng: Any, size: int, stops: list[int], closers: Any) -> int:
    if guide.engage():
        ids = guide.allowed()
        for favoured, chance in ((stops, 0.3), (closers, 0.25)):
            both = np.intersect1d(ids, favoured)
            if len(both) and rng.random() < chance:
                return int(rng.choice(both))
        return int(rng.choice(ids))
    left = np.ones(size, dtype=np.bool_)
    for _ in range(32):
        left[guide.refused(token)] = False
        token = int(rng.choice(np.flatnonzero(left)))
        if guide.accepts(token):
            break
    return token


STARTS = (
    "", "<|python_tag|>", '{"name"', '{"type": "function"', "[", "[now(", '{"', "<function=", "now(", '{ "name',
    "brave_search.call(", '```json\n{"name"', "{'name'", '{"parameters": {', "[foo(", 'Yes.\n{"name": "now"',
)  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
def test_no_random_message_holds_a_call_that_cannot_run(grammars: Grammars, words: Vocab, start: str) -> None:
    ended = 0
    for seed in range(6):
        code, required = bool(seed % 2), not start and seed % 3 == 0
        offered = (*TOOLS, CODE) if code else TOOLS
        text = random_message(grammars, words, Constraint(offered, required=required), start, seed)
        if text is None:
            continue
        ended += 1
        read = parse(text, offered, code=code)
        specs = {tool.name: tool for tool in offered}
        assert not read.malformed, text
        for call in read.calls:
            assert call.name in specs, text
            assert argument_error(specs[call.name], call.arguments) is None, text
        assert read.calls or not required, text
    assert ended


def test_a_schema_that_no_grammar_can_be_made_of_costs_only_its_own_tool(
    grammars: Grammars, words: Vocab, caplog: pytest.LogCaptureFixture
) -> None:
    schema = {
        "type": "object",
        "properties": {"p": {"type": "string", "pattern": "(?=a)b"}},
        "required": ["p"],
    }
    odd = ToolSpec(name="odd", parameters=schema)
    with caplog.at_level(logging.WARNING):
        constraint = Constraint((odd, WEATHER))
        grammars.compile(constraint)
    assert "odd" in caplog.text
    assert fits(grammars, words, '{"name": "odd", "parameters": {"q": 1}}', constraint)
    assert not fits(grammars, words, '{"name": "weather.v2", "parameters": {"q": 1}}', constraint)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 5},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": {"type": "string", "minLength": "x"}}},
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["b"]},
        {"type": "object", "$ref": "#"},
        {"type": "object", "properties": {"a": {"$ref": "http://example.com/schema"}}},
        {"type": "object", "properties": {'a"b\n<|eot_id|>': {"type": "string"}, "": False}},
        {"type": "object", "properties": {"n": {"type": "number", "maximum": float("nan")}}},
        {"type": "object", "properties": {"e": {"type": "string", "minLength": 10**9}}},
    ],
    ids=str,
)
def test_no_schema_spoils_the_other_tools(grammars: Grammars, words: Vocab, schema: dict[str, Any]) -> None:
    constraint = Constraint((ToolSpec(name="odd", parameters=schema), WEATHER))
    assert fits(grammars, words, RIGHT[0], constraint)
    assert not fits(grammars, words, WRONG[1], constraint)


def test_an_answer_that_no_grammar_can_be_made_of_is_an_error(grammars: Grammars) -> None:
    with pytest.raises(ModelError, match="no grammar can be made"):
        grammars.compile(Constraint(answer={"type": "string", "pattern": "(?=a)b"}))


def test_an_impossible_schema_is_met_with_any_arguments(grammars: Grammars, words: Vocab) -> None:
    none = ToolSpec(
        name="none",
        parameters={"type": "object", "properties": {"n": {"minimum": 3, "maximum": 1, "type": "integer"}}},
    )
    grammars.compile(Constraint((none,)))


def test_constraints_are_compiled_once(grammars: Grammars) -> None:
    first = grammars.compile(Constraint((NOW, PICK)))
    assert grammars.find(Constraint((NOW, PICK))) is first
    assert grammars.find(Constraint((PICK,), required=True)) is None


@pytest.mark.parametrize(
    ("schema", "inside", "outside"),
    [
        ({"type": "integer"}, ["1", "-9007199254740991"], ["9007199254740993", "1.5"]),
        ({"type": "number"}, ["1.25", "-3"], ["1e999", "1e5"]),
        ({"type": "object"}, ['{"a": [1, {"b": null}]}', "{}"], ['{"a": 1e999}', '{"a":1}']),
        ({"type": "string"}, ['"a\\n\\"b"', '"é😀"'], ['"a\nb"', '"\\ud800"', "'a'"]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, ["null", "3"], ["true"]),
        (
            {
                "$ref": "#/$defs/n",
                "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}},
            },
            ['{"n": {"n": {}}}', "{}"],
            ['{"m": 1}'],
        ),
    ],
)
def test_values_of_a_schema(
    grammars: Grammars, words: Vocab, schema: dict[str, Any], inside: list[str], outside: list[str]
) -> None:
    constraint = Constraint(answer=schema)
    assert all(fits(grammars, words, text, constraint) for text in inside)
    assert not any(fits(grammars, words, text, constraint) for text in outside)
    for text in inside:
        json.loads(text)


def test_narrowing_changes_nothing_that_is_given() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    kept = json.dumps(schema)
    assert narrow(schema)["additionalProperties"] is False
    assert json.dumps(schema) == kept
    assert "additionalProperties" not in narrow({"allOf": [schema]})["allOf"][0]
    assert json_rule(schema).startswith("%json {")


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        ('{"name":', True),
        ('{"nam', False),
        ('{"id": 3, "name": "now"', False),
        ("[now(", True),
        ("[1, now(", False),
        ("**{ 'name'", True),
        ("now(", True),
        ("know(", False),
        ("```\n<function=", True),
    ],
)
def test_where_a_call_opens_at_the_start(text: str, opens: bool) -> None:
    assert (Openers(["now"]).leading(text, 0) is not None) is opens


def test_a_fenced_call_in_prose_stays_prose() -> None:
    openers = Openers(["now"])
    call = '{"name": "now"'
    assert openers.inner(f"I look.\n{call}", 0)
    assert openers.inner(f"I look.\n```\n{call}", 0) is None
    assert openers.inner(f"I look.\n{call}", 0, fences=1) is None
    assert openers.inner(f"I look at {call}", 0) is None


# --- in the engine -------------------------------------------------------------------------------------------------


def write(model: LlamaCppModel, prompt: list[int], sampling: Sampling, **options: Any) -> list[Token]:
    async def collect() -> list[Token]:
        return [token async for token in model.generate(prompt, sampling, **options)]

    return asyncio.run(collect())


def text_of(written: list[Token]) -> str:
    return "".join(token.text for token in written if not token.stop)


SHORT = ToolSpec(
    name="short",
    parameters={
        "type": "object",
        "properties": {
            "kind": {"enum": ["red", "blue"]},
            "n": {"type": "integer", "minimum": 0, "maximum": 99},
        },
        "required": ["kind", "n"],
    },
)


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_random_weights_write_a_right_call(tiny: Path, temperature: float) -> None:
    model = LlamaCppModel(tiny, n_threads=1)
    try:
        for seed in range(4):
            sampling = Sampling(temperature=temperature, top_p=1.0, seed=seed)
            written = write(
                model, [ord("q")], sampling, max_tokens=300, constraint=Constraint((SHORT,), required=True)
            )
            if written[-1].stop:
                read = parse(text_of(written), [SHORT])
                assert read.calls
                assert not read.malformed
                assert all(argument_error(SHORT, call.arguments) is None for call in read.calls)
        assert model.stats.forced_tokens > 0
    finally:
        model.engine.close()


def test_forced_tokens_are_the_transcript_and_are_counted(tiny: Path) -> None:
    model = LlamaCppModel(tiny, n_threads=1)
    try:
        constraint = Constraint(answer={"enum": ["a long text that leaves no choice at all"]})
        prompt = [ord("q")]
        written = write(model, prompt, Sampling(temperature=0), max_tokens=200, constraint=constraint)
        assert text_of(written) == '"a long text that leaves no choice at all"'
        assert written[-1].stop
        stats = model.stats
        assert stats.forced_tokens + stats.sampled_tokens == len(written)
        assert stats.decodes < len(written) / 4
        again = [*prompt, *(token.id for token in written), ord("x")]
        write(model, again, Sampling(temperature=0), max_tokens=1)
        assert model.stats.prefilled_tokens - stats.prefilled_tokens == 1
    finally:
        model.engine.close()


def test_a_limit_inside_forced_tokens_holds(tiny: Path) -> None:
    model = LlamaCppModel(tiny, n_threads=1)
    try:
        constraint = Constraint(answer={"enum": ["a long text that leaves no choice at all"]})
        written = write(model, [ord("q")], Sampling(temperature=0), max_tokens=7, constraint=constraint)
        assert len(written) == 7
        assert written[-1].stop is None
    finally:
        model.engine.close()


def test_log_probabilities_are_told_of_each_token_under_a_constraint(tiny: Path) -> None:
    model = LlamaCppModel(tiny, n_threads=1)
    try:
        constraint = Constraint(answer={"enum": ["no choice"]})
        written = write(
            model, [ord("q")], Sampling(temperature=0, logprobs=1), max_tokens=50, constraint=constraint
        )
        assert text_of(written) == '"no choice"'
        assert all(token.logprob is not None for token in written)
    finally:
        model.engine.close()


def test_a_constraint_that_cannot_be_compiled_leaves_the_model_usable(tiny: Path) -> None:
    model = LlamaCppModel(tiny, n_threads=1)
    try:
        bad = Constraint(answer={"type": "string", "pattern": "(?=a)b"})
        with pytest.raises(ModelError, match="no grammar"):
            write(model, [ord("q")], Sampling(), max_tokens=4, constraint=bad)
        assert write(model, [ord("q")], Sampling(), max_tokens=4)
    finally:
        model.engine.close()


def test_a_constraint_without_choice_changes_no_prose(model: LlamaCppModel) -> None:
    sampling = Sampling(temperature=0)
    prompt = model.tokenize([Segment("grammar changes nothing here")])
    free = write(model, prompt, sampling, max_tokens=30)
    held = write(model, prompt, sampling, max_tokens=30, constraint=Constraint((SHORT,)))
    assert [token.id for token in held] == [token.id for token in free]
