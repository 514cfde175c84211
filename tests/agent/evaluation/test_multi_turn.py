"""Conversations on executable environments, with a stand-in for the suite's package of the same layout."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from arriero.agent.cli.app import cli
from arriero.agent.evaluation import SuiteError
from arriero.agent.evaluation.environments import read_call
from arriero.agent.evaluation.multi_turn import load

CONFIG = """
CLASS_FILE_PATH_MAPPING = {"GorillaFileSystem": "bfcl_eval.files", "MathAPI": "bfcl_eval.math"}
STATELESS_CLASSES = ["MathAPI"]
"""
FILES = """
class GorillaFileSystem:
    def _load_scenario(self, config, long_context=False):
        self.names = list(config["names"]) + ["long"] * long_context
        self._private = object()

    def touch(self, name):
        if name in self.names:
            raise ValueError(f"{name} is there")
        self.names.append(name)

    def ls(self, hidden=False):
        return {"names": self.names}
"""
MATH = """
class MathAPI:
    def mean(self, numbers):
        return sum(numbers) / len(numbers)
"""
CHECKER = """
def state_checker(ours, theirs):
    for name, right in theirs.items():
        left = {k: v for k, v in vars(ours[name]).items() if not k.startswith("_")}
        wanted = {k: v for k, v in vars(right).items() if not k.startswith("_")}
        if left != wanted:
            return {"valid": False, "error_message": f"{name} differs.", "details": {"differences": [left, wanted]}}
    return {"valid": True}


def response_checker(said, wanted, turn):
    left = list(said)
    missing = []
    for one in wanted:
        left.remove(one) if one in left else missing.append(one)
    return {"valid": not missing, "details": {"missing_items": missing}}
"""
DOCS = {
    "gorilla_file_system": [
        {
            "name": "touch",
            "description": "Make a file.",
            "parameters": {"type": "dict", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        },
        {
            "name": "ls",
            "description": "List files.",
            "parameters": {"type": "dict", "properties": {"hidden": {"type": "boolean"}}, "required": []},
        },
    ],
    "math_api": [
        {
            "name": "mean",
            "description": "Average.",
            "parameters": {
                "type": "dict",
                "properties": {"numbers": {"type": "array", "items": {"type": "float"}}},
                "required": ["numbers"],
            },
        }
    ],
}
ENTRY: dict[str, Any] = {
    "question": [
        [{"role": "user", "content": "Make a.txt twice."}],
        [],
        [{"role": "user", "content": "Mean?"}],
    ],
    "initial_config": {"GorillaFileSystem": {"names": ["b"]}},
    "involved_classes": ["GorillaFileSystem", "MathAPI"],
    "missed_function": {"1": ["ls"]},
}
TRUTH = [["touch('a.txt')", "touch(name='a.txt')"], ["ls(hidden=True)"], ["mean(numbers=[1, 2.5])"]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "possible_answer").mkdir(parents=True)
    (folder / "multi_turn_func_doc").mkdir()
    for name, functions in DOCS.items():
        text = "".join(f"{json.dumps(function)}\n" for function in functions)
        (folder / "multi_turn_func_doc" / f"{name}.json").write_text(text)
    for category in ("multi_turn_base", "multi_turn_long_context"):
        row = {"id": f"{category}_0", **ENTRY}
        if category == "multi_turn_long_context":
            row["excluded_function"] = ["mean"]  # and the answer uses it, as a few published ones do
        (folder / f"BFCL_v4_{category}.json").write_text(json.dumps(row) + "\n")
        truth = {"id": row["id"], "ground_truth": TRUTH}
        (folder / "possible_answer" / f"BFCL_v4_{category}.json").write_text(json.dumps(truth) + "\n")
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = tmp_path / "site" / "bfcl_eval"
    checker = root / "eval_checker" / "multi_turn_eval" / "multi_turn_checker.py"
    for path, text in {
        root / "constants" / "executable_backend_config.py": CONFIG,
        root / "files.py": FILES,
        root / "math.py": MATH,
        checker: CHECKER,
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = {name: module for name, module in sys.modules.items() if name.startswith("bfcl_eval")}
    for name in before:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    for name in [name for name in sys.modules if name.startswith("bfcl_eval")]:
        del sys.modules[name]


def arriero(*args: str) -> Any:
    return CliRunner().invoke(cli, ["eval", "bfcl", *args])


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("form", ["llama3.1", "llama3.2", "meta-messages-function-tag"])
@pytest.mark.parametrize("together", [(), ("--together",)])
def test_right_calls_leave_the_state_that_they_should(
    data: Path, form: str, together: tuple[str, ...]
) -> None:
    result = arriero(str(data), "--replay", form, "--json", "--wrong", "3", *together)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["results"][form] == {
        name: {"right": 1, "total": 1, "calls_right": 4, "calls": 4}
        for name in ("multi_turn_base", "multi_turn_long_context")
    }


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        (["TOUCH", "DONE", "LS", "DONE", "MEAN", "DONE"], ""),
        (["DONE", "LS", "DONE", "MEAN", "DONE"], "no tool was called"),
        (["LS", "DONE", "LS", "DONE", "MEAN", "DONE"], "GorillaFileSystem differs"),
        (["TOUCH", "DONE", "LS", "DONE", "TOUCH", "DONE"], "results that never came: ['1.75']"),
        (["TOUCH"], "the run ended with an error"),
    ],
)
def test_a_model_is_judged_by_state_and_results(
    data: Path, tmp_path: Path, answers: list[str], problem: str
) -> None:
    texts = {
        "TOUCH": '{"name": "touch", "parameters": {"name": "a.txt"}}<|eom_id|>',
        "LS": '{"name": "ls", "parameters": {"hidden": true}}<|eom_id|>',
        "MEAN": '{"name": "mean", "parameters": {"numbers": "[1, 2.5]"}}<|eom_id|>',
        "DONE": "Done.<|eot_id|>",
    }
    twice = [answers[0], *answers] if answers[0] == "TOUCH" and len(answers) > 1 else answers
    script = tmp_path / "script"
    script.write_text("\n---\n".join(texts[answer] for answer in twice))
    result = arriero(str(data), "-m", f"script:{script}", "--category", "multi_turn_base", "--wrong", "1")
    assert result.exit_code == 0, result.output
    assert f"| multi_turn_base | {int(not problem)}/1" in result.stdout
    assert problem in result.stdout


def test_without_the_package_conversations_are_left_out_or_named(data: Path) -> None:
    if "bfcl_eval" in sys.modules:
        pytest.skip("the package bfcl-eval is there")
    result = arriero(str(data), "--replay", "llama3.1", "--category", "multi_turn_base")
    assert result.exit_code == 1
    assert "pip install --no-deps bfcl-eval" in result.stderr


@pytest.mark.parametrize("source", ["1 +", "a.b(1)", "f(x)", "touch(1, 2)", "__import__('os').system('id')"])
def test_answers_are_read_and_never_evaluated(source: str) -> None:
    with pytest.raises(SuiteError, match="cannot be read"):
        read_call(source, {"touch": ["name"]})


def test_a_replay_takes_what_the_answers_give_against_their_schema(data: Path) -> None:
    (dialogue,) = load(data, "multi_turn_base")
    path = data / "possible_answer" / "BFCL_v4_multi_turn_base.json"
    wrong = [["touch(name=7)"], [], []]
    path.write_text(json.dumps({"id": dialogue.id, "ground_truth": wrong}) + "\n")
    (other,) = load(data, "multi_turn_base")
    (touch,) = [tool for tool in other.offered(0, as_needed=True) if tool.name == "touch"]
    assert touch.parameters == {"type": "object"}
    assert other.offered(0) == dialogue.offered(0) == dialogue.offered(0, as_needed=True)


def test_entries_of_another_shape_are_named(data: Path) -> None:
    path = data / "BFCL_v4_multi_turn_base.json"
    path.write_text(json.dumps({"id": "multi_turn_base_0", **ENTRY, "question": [[], [], [], []]}) + "\n")
    with pytest.raises(SuiteError, match="'multi_turn_base_0' of multi_turn_base has another shape"):
        load(data, "multi_turn_base")
