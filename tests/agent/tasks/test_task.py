"""Tasks end to end on scripted models: steps, data, checks, retries, limits."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from arriero import FunctionModel, ScriptedModel, Tool, tool
from arriero.agent.cancellation import CancellationToken
from arriero.agent.tasks import Check, Input, Retry, Step, Task, TaskError, TaskLimits, TaskResult
from arriero.safety.base import ALLOW, ScreenInput, Verdict
from arriero.safety.policy import Policy

TEXT = """\
version: 1
name: populations
inputs:
  city: {type: str, default: Paris}
  n: {type: int, default: 2}
tools: [find]
steps:
  - id: find
    prompt: "Find the population of {{ inputs.city }}."
    output: {type: object, properties: {population: {type: integer}}, required: [population]}
    check:
      - tool_called: find
      - expr: output.population > 100_000
    retry: {attempts: 3, feedback: true}
  - id: halve
    needs: [find]
    prompt: "Compute {{ steps.find.output.population / inputs.n }}"
    check: [{number: {equals: "{{ steps.find.output.population / 2 }}", within: 0.001}}]
"""
CALL = '{"name": "find", "parameters": {"q": "Paris"}}<|eom_id|>'


@tool
def find(q: str) -> str:
    """Find a number."""
    return "2000000"


def run(task: Task, model: Any, inputs: dict[str, Any] | None = None, **options: Any) -> TaskResult:
    return asyncio.run(task.run(model, inputs, **options))


def one_step(**fields: Any) -> Task:
    limits = fields.pop("limits", TaskLimits())
    tools = fields.pop("task_tools", ())
    return Task(name="t", tools=tools, limits=limits, steps=(Step(id="a", prompt="p", **fields),))


def test_steps_hand_on_data_and_correct_themselves() -> None:
    task = Task.parse(TEXT)
    model = ScriptedModel(
        [
            CALL,
            "About two million.<|eot_id|>",
            '```json\n{"population": 2000000}\n```<|eot_id|>',
            "It is 1,000,000.<|eot_id|>",
        ]
    )
    result = run(task, model, tools={"find": find})
    assert result.status == "ok"
    assert result.output == "It is 1,000,000."
    first, second = result.steps
    assert first.output == {"population": 2_000_000}
    assert [attempt.checks[0].ok for attempt in first.attempts] == [False, True]
    assert "not accepted: the answer is not JSON" in model.prompts[2]
    assert second.attempts[0].prompt == "Compute 1000000.0"
    assert result.usage.tool_calls == 1
    model.assert_complete()


def test_the_same_object_in_python_and_in_a_file() -> None:
    made = Task(
        name="populations",
        inputs={"city": Input(default="Paris"), "n": Input(type="int", default=2)},
        tools=("find",),
        steps=(
            Step(
                id="find",
                prompt="Find the population of {{ inputs.city }}.",
                output={
                    "type": "object",
                    "properties": {"population": {"type": "integer"}},
                    "required": ["population"],
                },
                check=(Check(tool_called="find"), Check(expr="output.population > 100_000")),
                retry=Retry(attempts=3),
            ),
            Step(
                id="halve",
                needs=("find",),
                prompt="Compute {{ steps.find.output.population / inputs.n }}",
                check=(
                    Check.model_validate(
                        {"number": {"equals": "{{ steps.find.output.population / 2 }}", "within": 0.001}}
                    ),
                ),
            ),
        ),
    )
    assert made.digest == Task.parse(TEXT).digest
    assert made.problems() == ()
    assert made.digest != Task.parse(TEXT.replace("Find the", "Get the")).digest


def test_prompts_without_running() -> None:
    prompts = Task.parse(TEXT).prompts({"city": "Lima"})
    assert prompts == {
        "find": "Find the population of Lima.",
        "halve": "Compute «steps.find.output.population…»",
    }


def test_what_is_missing_is_said_before_anything_runs() -> None:
    task = Task.parse(TEXT)
    with pytest.raises(TaskError, match=r"needs the tool find; there are: none"):
        run(task, ScriptedModel([]))
    with pytest.raises(TaskError, match=r"no input 'town'.*'n' must be a whole number, not 'x'"):
        run(task, ScriptedModel([]), {"town": 1, "n": "x"}, tools={"find": find})


@pytest.mark.parametrize(
    ("check", "answer", "fault"),
    [
        ({"equals": "yes"}, " yes\n", None),
        ({"equals": 4}, "4", None),
        ({"equals": "no"}, "yes", "the answer is yes and should be no"),
        ({"contains": ["a", "b"]}, "xa", "does not contain b"),
        ({"contains": "x"}, "xa", None),
        ({"matches": r"^\d+$"}, "12", None),
        ({"matches": r"^\d+$"}, "a12", "does not match"),
        ({"number": {"equals": 3.14, "within": 0.01}}, "First 2, then about 3.141", None),
        ({"number": {"equals": 3}}, "4", "is 4 and should be 3 ± 0"),
        ({"number": {"equals": 3}}, "none", "has no number"),
        ({"json_schema": {"type": "integer"}}, "3", None),
        ({"json_schema": {"type": "integer"}}, '"3"', "not fit the schema"),
        ({"tool_not_called": "find"}, "x", None),
        ({"tool_called": "find"}, "x", "was not called"),
        ({"tool_order": ["find", "find"]}, "x", "find is missing"),
        ({"max_tool_calls": 0}, "x", None),
        ({"file_exists": "/etc/passwd"}, "x", None),
        ({"file_exists": "no-such-file"}, "x", "no file no-such-file"),
        ({"expr": "len(text) == 1 and tools == [] and 'find' not in tools"}, "x", None),
        ({"expr": "usage.output_tokens > 1000"}, "x", "does not hold"),
        ({"expr": "output.population"}, "x", "str has no 'population'"),
        ({"python": lambda result: result.text == "x"}, "x", None),
        ({"python": lambda result: "too short"}, "x", "too short"),
        ({"python": lambda result: 1 / 0}, "x", "the check itself failed: ZeroDivisionError"),
    ],
)
def test_checks(check: dict[str, Any], answer: str, fault: str | None) -> None:
    task = one_step(check=(Check.model_validate(check),), task_tools=("find",))
    result = run(task, ScriptedModel([f"{answer}<|eot_id|>"]), tools={"find": find})
    assert result.status == ("failed" if fault else "ok"), result.error
    assert (fault or "") in (result.error or "")


def test_checks_of_calls() -> None:
    checks = [
        {"tool_called": "find"},
        {"tool_order": ["find"]},
        {"max_tool_calls": 1},
        {"tool_not_called": "find"},
    ]
    task = one_step(check=tuple(Check.model_validate(check) for check in checks), task_tools=("find",))
    result = run(task, ScriptedModel([CALL, "x<|eot_id|>"]), tools={"find": find})
    assert [check.ok for check in result.steps[0].checks] == [True, True, True, False]


def test_a_new_attempt_without_feedback_begins_anew_with_the_next_seed() -> None:
    task = Task.model_validate(
        {
            "name": "t",
            "defaults": {"seed": 7},
            "steps": [
                {
                    "id": "a",
                    "prompt": "p",
                    "check": [{"contains": "2"}],
                    "retry": {"attempts": 2, "feedback": False},
                }
            ],
        }
    )
    model = ScriptedModel(["1<|eot_id|>", "2<|eot_id|>"])
    result = run(task, model)
    assert result.status == "ok"
    assert model.prompts[0] == model.prompts[1]


def test_attempts_run_out() -> None:
    task = one_step(check=(Check(contains="never"),), retry=Retry(attempts=2))
    result = run(task, ScriptedModel(["1<|eot_id|>", "2<|eot_id|>"]))
    assert (result.status, len(result.steps[0].attempts)) == ("failed", 2)


def test_a_step_that_needs_a_failed_one_is_skipped() -> None:
    task = Task.parse(TEXT)
    result = run(task, ScriptedModel(["?<|eot_id|>"] * 3), tools={"find": find})
    assert [step.status for step in result.steps] == ["failed", "skipped"]
    assert (result.status, result.output) == ("failed", None)


def test_limits_are_of_the_whole_task() -> None:
    retry = Retry(attempts=5, feedback=True)
    task = one_step(check=(Check(contains="never"),), retry=retry, limits=TaskLimits(steps=3))
    result = run(task, ScriptedModel(["1<|eot_id|>"] * 5))
    assert (result.status, len(result.steps[0].attempts)) == ("limit", 3)
    task = one_step(limits=TaskLimits(output_tokens=2))
    assert run(task, ScriptedModel(["a long answer that goes on<|eot_id|>"])).status == "limit"


def test_approvals_are_decided_by_the_task() -> None:
    @tool(approval=True)
    def pay(amount: int) -> str:
        """Pay."""
        return "paid"

    call = '{"name": "pay", "parameters": {"amount": 1}}<|eom_id|>'
    outcomes = {}
    for approve in ({"*": "always"}, {"pay": "never"}, {}):
        task = Task.model_validate(
            {"name": "t", "tools": ["pay"], "approve": approve, "steps": [{"id": "a", "prompt": "p"}]}
        )
        result = run(task, ScriptedModel([call, "x<|eot_id|>"]), tools={"pay": pay})
        outcomes[str(approve)] = (result.status, result.steps[0].calls[0].ok)
    assert outcomes == {
        "{'*': 'always'}": ("ok", True),
        "{'pay': 'never'}": ("ok", False),
        "{}": ("ok", False),
    }


def test_stopping_a_task() -> None:
    token = CancellationToken()

    def answer(prompt: str) -> str:
        token.cancel()
        return "x" * 1000

    task = Task.model_validate(
        {"name": "t", "steps": [{"id": "a", "prompt": "p"}, {"id": "b", "prompt": "q"}]}
    )
    result = run(task, FunctionModel(answer), cancel=token)
    assert result.status == "cancelled"
    assert [step.status for step in result.steps] == ["cancelled", "cancelled"]


def test_one_conversation_over_steps_and_a_result_of_its_own() -> None:
    task = Task.model_validate(
        {
            "name": "t",
            "steps": [
                {"id": "a", "prompt": "first"},
                {"id": "b", "prompt": "second", "conversation": "same"},
            ],
            "result": {"both": "{{ steps.a.text }}{{ steps.b.text }}", "length": "{{ steps.a.text|length }}"},
        }
    )
    model = ScriptedModel(["1<|eot_id|>", "2<|eot_id|>"])
    assert run(task, model).output == {"both": "12", "length": 1}
    assert model.prompts[1].startswith(model.prompts[0])


def test_a_new_attempt_in_one_conversation_takes_the_old_one_back() -> None:
    retry = {"attempts": 2, "feedback": False}
    second = {
        "id": "b",
        "prompt": "second",
        "conversation": "same",
        "check": [{"contains": "3"}],
        "retry": retry,
    }
    task = Task.model_validate({"name": "t", "steps": [{"id": "a", "prompt": "first"}, second]})
    model = ScriptedModel(["1<|eot_id|>", "2<|eot_id|>", "3<|eot_id|>"])
    assert run(task, model).status == "ok"
    assert model.prompts[1] == model.prompts[2]


def test_hostile_data_in_inputs_is_never_a_template() -> None:
    task = Task.model_validate(
        {"name": "t", "inputs": {"x": {}}, "steps": [{"id": "a", "prompt": "{{ inputs.x }}"}]}
    )
    model = ScriptedModel(["{{ 7*7 }}<|eot_id|>"])
    run(task, model, {"x": "{{ 7*7 }}<|eot_id|>"})
    assert "{{ 7*7 }}" in model.prompts[0]
    assert task.prompts({"x": "{{ 7*7 }}"}) == {"a": "{{ 7*7 }}"}


@pytest.mark.parametrize(
    "template",
    [
        "{{ inputs.x.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ inputs.x.missing }}",
        "{{ 1/0 }}",
        "{{ inputs.x.format(1).__class__() }}",
    ],
)
def test_templates_stay_in_their_box(template: str) -> None:
    task = Task.model_validate(
        {
            "name": "t",
            "inputs": {"x": {"default": "v"}},
            "steps": [{"id": "a", "prompt": f"{template} {{{{ inputs.x }}}}"}],
        }
    )
    result = run(task, ScriptedModel(["x<|eot_id|>"]))
    assert result.status == "error"
    assert "template" in (result.error or "")


def test_functions_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text(
        "def short(result):\n    return None if len(result.text) < 3 else 'too long'\n"
    )
    file = tmp_path / "task.yaml"
    file.write_text("name: t\nsteps:\n  - {id: a, prompt: p, check: [{python: 'checks.py::short'}]}\n")
    assert run(Task.load(file), ScriptedModel(["abc<|eot_id|>"])).error == "a: too long"
    for named, said in (
        ("../x.py::f", "outside"),
        ("no.py::f", "there is no no.py"),
        ("checks.py", "should be like"),
    ):
        file.write_text(f"name: t\nsteps:\n  - {{id: a, prompt: p, check: [{{python: '{named}'}}]}}\n")
        with pytest.raises(TaskError, match=said):
            Task.load(file)
    with pytest.raises(TaskError, match="task that is in a file"):
        Task.parse("name: t\nsteps:\n  - {id: a, prompt: p, check: [{python: 'checks.py::short'}]}\n")


def test_input_types(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    wanted = {
        "i": Input(type="int"), "f": Input(type="float"), "b": Input(type="bool"), "d": Input(type="date"),
        "t": Input(type="file"), "c": Input(type="choice", choices=("x", "y")), "o": Input(required=False),
    }  # fmt: skip
    task = Task(name="t", inputs=wanted, steps=(Step(id="a", prompt="{{ inputs }}"),))
    given = {"i": "3", "f": "2.5", "b": "yes", "d": "2026-11-21", "t": str(tmp_path / "notes.txt"), "c": "y"}
    values = task.read_inputs(given)
    assert (values["i"], values["f"], values["b"], values["t"], values["o"]) == (3, 2.5, True, "hello", None)
    for name, value, said in (
        ("i", "2.5", "whole number"), ("i", True, "not true"), ("b", "maybe", "true or false"),
        ("d", "x", "isoformat"),
        ("t", "nowhere", "cannot be read"), ("c", "z", "one of x, y"), ("f", "nan-ish", "must be a number"),
    ):  # fmt: skip
        with pytest.raises(TaskError, match=said):
            task.read_inputs({**given, name: value})


def test_tools_may_be_plain_functions() -> None:
    def look(place: str) -> str:
        """Look somewhere."""
        return "seen"

    task = Task.model_validate({"name": "t", "tools": ["look"], "steps": [{"id": "a", "prompt": "p"}]})
    call = '{"name": "look", "parameters": {"place": "x"}}<|eom_id|>'
    result = run(task, ScriptedModel([call, "ok<|eot_id|>"]), tools={"look": look})
    assert result.steps[0].calls[0].content == "seen"
    assert isinstance(find, Tool)


def test_the_model_is_held_to_the_schema_of_the_answer() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    model = ScriptedModel([CALL, '{"n": 3}<|eot_id|>', "plain<|eot_id|>"])
    steps = (Step(id="a", prompt="p", output=schema), Step(id="b", prompt="q", tools=()))
    result = run(Task(name="t", tools=("find",), steps=steps), model, tools={"find": find})
    assert result.status == "ok"
    assert [held.answer if held else None for held in model.constraints] == [schema, schema, None]
    assert model.constraints[0] is not None
    assert [spec.name for spec in model.constraints[0].tools] == ["find"]


def test_a_real_model_can_only_write_what_fits() -> None:
    from arriero.agent.store import open_model

    schema = {"type": "object", "properties": {"box": {"enum": ["hay", "rope"]}}, "required": ["box"]}
    schema["additionalProperties"] = False
    task = Task(name="t", steps=(Step(id="a", prompt="Sort these: pears", output=schema),))
    model = open_model("bundled")
    try:
        assert run(task, model).output in ({"box": "hay"}, {"box": "rope"})
    finally:
        asyncio.run(model.aclose())


@pytest.mark.parametrize(
    ("who", "status", "told"),
    [("Ann", "ok", ["You help Ann."]), ("a bomber", "blocked", []), ("Bo\u200bb", "ok", ["You help Bob."])],
    ids=["allowed", "blocked", "replaced"],
)
def test_inputs_in_the_instructions_are_screened_like_those_in_a_prompt(
    who: str, status: str, told: list[str]
) -> None:
    def guard(given: ScreenInput) -> Verdict:
        return Verdict("block", reason="no bombs") if "bomb" in given.text else ALLOW

    task = Task(
        name="t",
        instructions="You help {{ inputs.who }}.",
        inputs={"who": Input()},
        steps=(Step(id="a", prompt="p"), Step(id="b", prompt="q", conversation="same")),
    )
    model = ScriptedModel(["Yes.<|eot_id|>", "Fine.<|eot_id|>"])
    policy = Policy(screens={"guard": guard}, input=["guard", "patterns"])
    result = run(task, model, {"who": who}, guards=policy)
    assert result.status == status
    assert [line for line in told if line not in model.prompts[0]] == []
    if status == "blocked":
        assert model.prompts == []
        assert result.error == "a: the input was blocked by the screen 'guard': no bombs"


def test_without_inputs_the_instructions_are_the_tasks_own() -> None:
    task = Task(name="t", instructions="You defuse bombs.", steps=(Step(id="a", prompt="p"),))
    policy = Policy(
        screens={"guard": lambda given: Verdict("block" if "bomb" in given.text else "allow")},
        input=["guard"],
    )
    assert run(task, ScriptedModel(["Yes.<|eot_id|>"]), guards=policy).status == "ok"
