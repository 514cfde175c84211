"""The leaderboard's files and rules, on a folder of the same layout with questions of our own."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from arriero.agent.backends import ScriptedModel
from arriero.agent.cli.app import cli
from arriero.agent.evaluation import Case, Score, SuiteError, Tally, categories, load, replay, run_model
from arriero.agent.evaluation.answers import own_checker
from arriero.agent.evaluation.bfcl import schema
from arriero.prompts import ToolCall

WEATHER = {
    "name": "weather.of",
    "description": "The weather of a place.",
    "parameters": {
        "type": "dict",
        "properties": {
            "place": {"type": "string", "description": "Where."},
            "days": {"type": "integer"},
            "height": {"type": "float"},
            "at": {"type": "tuple", "items": {"type": "float"}},
            "how": {"type": "dict", "properties": {"unit": {"type": "string"}}},
            "exact": {"type": "boolean"},
            "more": {"type": "any"},
        },
        "required": ["place"],
    },
}
ANSWER: dict[str, list[Any]] = {
    "place": ["New York, NY", "NYC"],
    "days": [3, ""],
    "height": [2, ""],
    "at": [[1.5, 2.0], ""],
    "how": [{"unit": ["K", "kelvin"]}, ""],
    "exact": [True, ""],
    "more": ["", "odd"],
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "simple_python": [{"weather.of": ANSWER}],
    "parallel": [{"weather.of": ANSWER}, {"weather.of": {**ANSWER, "place": ["Oslo"]}}],
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "possible_answer").mkdir()
    for category in (*ROWS, "irrelevance", "live_relevance"):
        question = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": 'Say "why"?'}]]
        row = {"id": f"{category}_0", "question": question, "function": [WEATHER]}
        (tmp_path / f"BFCL_v4_{category}.json").write_text(json.dumps(row) + "\n")
    for category, truth in ROWS.items():
        row = {"id": f"{category}_0", "ground_truth": truth}
        (tmp_path / "possible_answer" / f"BFCL_v4_{category}.json").write_text(json.dumps(row) + "\n")
    return tmp_path


@pytest.fixture
def case(suite: Path) -> Case:
    return load(suite, "simple_python")[0]


def test_files_become_cases(suite: Path, case: Case) -> None:
    assert categories(suite) == ["simple_python", "parallel", "irrelevance", "live_relevance"]
    assert (case.system, case.question) == ("Be brief.", 'Say "why"?')
    assert case.tools[0].parameters["properties"]["at"] == {"type": "array", "items": {"type": "number"}}
    assert case.example() == [
        ToolCall(
            name="weather.of",
            arguments={
                "place": "New York, NY",
                "days": 3,
                "height": 2.0,
                "at": [1.5, 2.0],
                "how": {"unit": "K"},
                "exact": True,
                "more": "odd",
            },
        )
    ]


def test_unknown_types_constrain_nothing() -> None:
    assert schema({"type": "any", "description": "x"}) == {"description": "x"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"place": "new york ny"}, ""),
        ({"place": "N.Y.C.", "days": 3, "height": 2, "more": ""}, ""),
        ({"place": "NYC", "height": 2.0, "at": [1.5, 2], "how": {"unit": "Kelvin"}}, ""),
        ({"place": "Boston"}, "place is 'Boston' instead of"),
        ({"place": 7}, "place is 7"),
        ({"place": "NYC", "days": "3"}, "days is '3'"),
        ({"place": "NYC", "days": 3.0}, "days is 3.0"),
        ({"place": "NYC", "exact": 1}, "exact is 1"),
        ({"place": "NYC", "at": [1.5]}, "at is [1.5]"),
        ({"place": "NYC", "how": {"unit": "F"}}, "how is"),
        ({"place": "NYC", "how": {}}, "how is {}"),
        ({"place": "NYC", "sea": 1}, "sea is not expected"),
        ({"days": 3}, "place is missing"),
    ],
)
def test_the_rules_of_the_suite(case: Case, arguments: dict[str, Any], problem: str) -> None:
    found = own_checker(case, [ToolCall(name="weather.of", arguments=arguments)])
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_another_number_of_calls_or_name_is_wrong(case: Case) -> None:
    assert own_checker(case, []) == "0 calls instead of 1"
    assert "was called instead" in own_checker(case, [ToolCall(name="weather", arguments={})])


def test_several_calls_may_come_in_any_order(suite: Path) -> None:
    case = load(suite, "parallel")[0]
    assert own_checker(case, case.example()[::-1]) == ""
    assert "instead of one of" in own_checker(case, case.example()[:1] * 2)


def replayed(suite: Path, dialect: str, *, together: bool) -> list[Score]:
    async def run() -> list[Score]:
        cases = [case for category in categories(suite) for case in load(suite, category)]
        return [score async for score in replay(cases, own_checker, dialect=dialect, together=together)]

    return asyncio.run(run())


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("dialect", ["llama3.1", "llama3.2", "hf-3.1", "meta-messages-function-tag"])
def test_right_calls_survive_renderer_parser_coercion_and_loop(
    suite: Path, dialect: str, together: bool
) -> None:
    scores = replayed(suite, dialect, together=together)
    assert [score.case.category for score in scores] == [*ROWS]
    assert [score.problem for score in scores] == ["", ""]
    assert [len(score.calls) for score in scores] == [1, 2]


def test_a_form_that_loses_quotes_is_caught(suite: Path) -> None:
    assert all(score.problem for score in replayed(suite, "vllm-3.2-pythonic", together=True))


@pytest.mark.parametrize(
    ("category", "text", "right"),
    [
        ("simple_python", '{"name": "weather.of", "parameters": {"place": "NYC"}}<|eom_id|>', True),
        ("simple_python", '{"name": "weather.of", "parameters": {"place": "Bonn"}}<|eom_id|>', False),
        ("simple_python", "It rains.<|eot_id|>", False),
        ("irrelevance", "It rains.<|eot_id|>", True),
        ("irrelevance", '{"name": "weather.of", "parameters": {"place": "NYC"}}<|eom_id|>', False),
        ("live_relevance", '{"name": "weather.of", "parameters": {"place": "NYC"}}<|eom_id|>', True),
        ("live_relevance", "It rains.<|eot_id|>", False),
    ],
)
def test_a_models_first_message_is_judged(suite: Path, category: str, text: str, right: bool) -> None:
    async def run() -> Tally:
        tally = Tally()
        async for score in run_model(load(suite, category), ScriptedModel([text]), own_checker):
            tally.add(score)
        return tally

    tally = asyncio.run(run())
    assert (tally.right, tally.total, len(tally.wrong)) == (int(right), 1, int(not right))


def test_the_command_prints_a_table_and_json(suite: Path) -> None:
    args = [
        "eval",
        "bfcl",
        str(suite),
        "--replay",
        "llama3.1",
        "--replay",
        "vllm-3.2-pythonic",
        "--checker",
        "own",
    ]
    told = CliRunner().invoke(cli, [*args, "--wrong", "1"])
    assert told.exit_code == 0, told.output
    assert "| parallel | 1/1 | 0/1 |" in told.stdout
    assert "| **all** | 2/2 | 0/2 |" in told.stdout
    assert "vllm-3.2-pythonic parallel_0: " in told.stdout
    found = json.loads(CliRunner().invoke(cli, [*args, "--json"]).stdout)
    assert found["results"]["llama3.1"]["parallel"] == {"right": 1, "total": 1}


def test_the_command_asks_a_model(suite: Path, tmp_path: Path) -> None:
    script = tmp_path / "answers.txt"
    script.write_text('{"name": "weather.of", "parameters": {"place": "NYC"}}<|eom_id|>')
    result = CliRunner().invoke(
        cli, ["eval", "bfcl", str(suite), "--category", "live_relevance", "-m", f"script:{script}"]
    )
    assert result.exit_code == 0, result.output
    assert "| live_relevance | 1/1 |" in result.stdout


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--category", "parallell"], 2, "there is no category 'parallell' here"),
        (["--replay", "llama3.9"], 1, "no dialect is called 'llama3.9'"),
    ],
)
def test_what_is_asked_wrongly_is_named(suite: Path, args: list[str], code: int, told: str) -> None:
    result = CliRunner().invoke(cli, ["eval", "bfcl", str(suite), *args])
    assert result.exit_code == code
    assert told in result.stderr


def test_a_folder_without_the_suite_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["eval", "bfcl", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no BFCL_v4" in result.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "1: this is no JSON"), ("[]", "1: this is no JSON object"), ('{"id": "a"}', "has another shape")],
)
def test_broken_files_are_named_with_their_line(suite: Path, text: str, why: str) -> None:
    (suite / "BFCL_v4_irrelevance.json").write_text(text)
    with pytest.raises(SuiteError, match=why):
        load(suite, "irrelevance")
