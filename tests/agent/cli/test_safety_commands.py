"""Screens from the command line: asking them, trying them, measuring them, and reading what they said."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arriero.agent import Agent
from arriero.agent.backends import ScriptedModel
from arriero.agent.cli.checks import Finding, screens
from arriero.agent.cli.safety_commands import eval_safety, safety
from arriero.agent.cli.settings import Settings
from arriero.agent.cli.terminal import Terminal
from arriero.safety.base import ScreenInput, Verdict
from arriero.safety.policy import Policy

KEY = "AKIAABCDEFGH234567QR"


def invoke(command, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(command, list(arguments), input=stdin, catch_exceptions=False)


def test_a_harmless_text_passes() -> None:
    result = invoke(safety, "check", "hello")
    assert result.exit_code == 0
    assert "the text passed" in result.stdout


def test_code_is_checked_where_code_stands(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("code = ['code_shield']\n[settings.code_shield]\nrules = false\n")
    bad = invoke(safety, "check", "eval(input())", "--place", "code", "-p", str(policy))
    assert bad.exit_code == 5
    assert "insecure-eval-use" in bad.stdout
    assert "would not pass" in bad.stdout
    good = invoke(safety, "check", "-", "--place", "code", "-p", str(policy), "--json", stdin="print(1)")
    assert good.exit_code == 0
    told = json.loads(good.stdout)
    assert told["action"] == "allow"
    assert told["checks"][0]["screen"] == "code_shield"


def test_a_place_without_screens_says_so() -> None:
    result = invoke(safety, "check", "hello", "-p", "off")
    assert result.exit_code == 0
    assert "no screen stands at input" in result.stderr


def test_screens_that_cannot_be_had_do_not_pass_and_say_what_to_do() -> None:
    result = invoke(safety, "check", "hello", "-p", "strict")
    assert result.exit_code == 5
    assert "settings.prompt_guard.folder must name" in result.stdout


@pytest.mark.parametrize("command", [(safety, "check", "x"), (eval_safety, "x")])
def test_policies_that_cannot_be_read_are_named(command, tmp_path: Path) -> None:
    result = invoke(*command, "-p", "strcit")
    assert result.exit_code == 1
    assert "did you mean 'strict'" in result.stderr
    result = invoke(*command, "-p", str(tmp_path / "none.toml"))
    assert "cannot be read" in result.stderr


def test_screens_are_tried_on_their_canaries(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("code = ['code_shield', 'patterns']\n[settings.code_shield]\nrules = false\n")
    result = invoke(safety, "test", "-p", str(policy))
    assert result.exit_code == 0
    assert "ok  code_shield at code: 2 of 2 harmful texts found, 0 false alarms in 2" in result.stdout
    assert "ok  patterns at code: there" in result.stdout
    policy.write_text("preset = 'strict'\n[settings.code_shield]\nrules = false\n")
    result = invoke(safety, "test", "-p", str(policy), "--json")
    assert result.exit_code == 6
    tried = {(one["screen"], one["place"]): one for one in json.loads(result.stdout)}
    assert not tried["llama_guard", "input"]["ok"]
    assert "arriero models pull" in tried["llama_guard", "input"]["line"]
    assert tried["patterns", "output"]["ok"]
    assert "no screen" in invoke(safety, "test", "-p", "off").stdout


def test_the_doctor_tries_the_screens_of_the_policy(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("preset = 'strict'\n[settings.code_shield]\nrules = false\n")
    found = tried(policy)
    assert "code_shield at code: 2 of 2 harmful texts found" in "\n".join(one.line for one in found)
    said = "\n".join(one.line for one in found if one.state == "broken")
    assert "llama_guard at input, tool_call" in said
    assert "prompt_guard at input, tool_result: settings.prompt_guard.folder" in said
    assert [one.state for one in tried("default")] == ["good"]
    (wrong,) = tried("strcit")
    assert wrong.state == "broken"
    assert "did you mean 'strict'" in wrong.line


def tried(policy: Path | str) -> list[Finding]:
    return list(screens(Settings(safety=str(policy)), Terminal(io.StringIO(), False, False, True)))


# measuring


@pytest.fixture
def cases(tmp_path: Path) -> str:
    path = tmp_path / "set.jsonl"
    rows = [
        {"text": f"my key is {KEY}", "label": "harmful", "place": "output", "category": "keys"},
        {
            "text": "a secret that no pattern knows",
            "label": "harmful",
            "place": "output",
            "category": "other",
        },
        *({"text": f"hello {n}", "label": "safe", "language": "en"} for n in range(8)),
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_rates_are_told_in_a_table(cases: str) -> None:
    result = invoke(eval_safety, cases, "--wrong", "1")
    assert result.exit_code == 0
    rates = result.stdout.partition("\n\n")[0]
    lines = {line.split("  ")[0]: line for line in rates.splitlines()}
    assert "50.0% (9.5%-90.5%)" in lines["all"]
    assert "0.0% (0.0%-32.4%)" in lines["all"]
    assert "language en" in lines
    assert "a secret that no pattern knows" in result.stdout


def test_rates_are_told_as_json(cases: str) -> None:
    found = json.loads(invoke(eval_safety, cases, "--json", "--concurrency", "4").stdout)
    assert found["policy"] == "default"
    assert found["files"] == [cases]
    assert found["all"]["violation_rate"] == 0.5
    assert found["all"]["false_refusal_rate"] == 0.0
    assert found["categories"]["keys"]["recall"] == 1.0


def test_without_screens_every_harmful_text_passes(cases: str) -> None:
    found = json.loads(invoke(eval_safety, cases, "--json", "-p", "off").stdout)
    assert found["all"]["violation_rate"] == 1.0


def test_a_screen_that_cannot_judge_fails_the_measurement(cases: str) -> None:
    result = invoke(eval_safety, cases, "-p", "strict")
    assert result.exit_code == 6
    assert "10 texts could not be judged" in result.stdout


def test_some_cases_and_another_place(cases: str) -> None:
    found = json.loads(invoke(eval_safety, cases, "--json", "--limit", "3", "--place", "code").stdout)
    assert found["all"]["cases"] == 3
    assert set(found["places"]) == {"code"}


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    result = invoke(eval_safety, str(tmp_path / "none.csv"))
    assert result.exit_code == 1
    assert "none.csv: cannot be read" in result.stderr


# runs that are kept


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("kept") / "journal.sqlite3"

    def guard(given: ScreenInput) -> Verdict:
        if "bad" in given.text:
            return Verdict("block", score=0.9, categories=("S1",), threshold=0.5, reason="it is\nbad")
        return Verdict(score=0.1, threshold=0.5)

    policy = Policy().with_screen("guard", guard, "input", "output")
    for question, answers in (("good", ["fine<|eot_id|>"]), ("bad", [])):
        with Agent(ScriptedModel(answers), guards=policy, journal=path) as agent:
            agent.run_sync(question)
    return str(path)


def test_the_verdicts_of_a_run_are_shown(journal: str) -> None:
    result = invoke(safety, "show", "--journal", journal)
    assert result.exit_code == 0
    head, row = result.stdout.splitlines()
    assert head.split() == ["place", "screen", "action", "score", "threshold", "categories", "ms", "reason"]
    assert row.split()[:6] == ["input", "guard", "block", "0.900", "0.500", "S1"]
    assert row.endswith("it is bad")
    told = json.loads(invoke(safety, "show", "last", "--journal", journal, "--json").stdout)
    assert [verdict["action"] for verdict in told["verdicts"]] == ["block"]
    assert invoke(safety, "show", told["run"][:8], "--journal", journal).stdout == result.stdout


def test_a_run_is_explained(journal: str) -> None:
    result = invoke(safety, "explain", "--journal", journal)
    assert result.exit_code == 0
    assert "1 verdicts, 1 of them stopped something" in result.stdout
    assert "What the user wrote was blocked: guard found something (S1): it is" in result.stdout
    assert "score 0.9, threshold 0.5" in result.stdout


def test_unknown_runs_are_named(journal: str) -> None:
    for command in ("show", "explain"):
        result = invoke(safety, command, "feedfeedfeed", "--journal", journal)
        assert result.exit_code == 1
        assert "feedfeedfeed" in result.stderr
