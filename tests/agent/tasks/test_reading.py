"""Task files that are wrong, and where they are."""

from pathlib import Path

import pytest

from arriero.agent.tasks import Task, TaskError


def faults(text: str) -> str:
    with pytest.raises(TaskError) as caught:
        Task.parse(text, file="t.yaml")
    return str(caught.value)


GOOD = "name: t\nsteps:\n  - id: a\n    prompt: hello\n"


def test_the_smallest_task() -> None:
    task = Task.parse(GOOD)
    assert (task.name, task.version, task.steps[0].prompt) == ("t", 1, "hello")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: t\nstep: []\n", "t.yaml:2: step: 'step' is not known here; did you mean 'steps'?"),
        ("name: t\n", "t.yaml:1: steps: Field required"),
        ("version: 2\n" + GOOD, "t.yaml:1: version: Input should be 1"),
        (
            GOOD + "    chekc: []\n",
            "t.yaml:5: steps[0].chekc: 'chekc' is not known here; did you mean 'check'?",
        ),
        (
            GOOD + "    check:\n      - contain: x\n",
            "t.yaml:6: steps[0].check[0].contain: 'contain' is not known",
        ),
        (
            GOOD + "    check:\n      - {contains: x, matches: y}\n",
            "t.yaml:6: steps[0].check[0]: a check has exactly one",
        ),
        (
            GOOD + "    check:\n      - matches: '('\n",
            "t.yaml:6: steps[0].check[0]: '(' is no regular expression",
        ),
        (GOOD + "    check:\n      - expr: open('x')\n", "only these can be called"),
        (GOOD + "    output: {type: nonsense}\n", "output is no JSON schema"),
        (GOOD + "  - id: a\n    prompt: x\n", "t.yaml:5: step a.id: a step before is called 'a' too"),
        (GOOD + "    needs: [b]\n", "t.yaml:5: step a.needs: 'b' is no step"),
        (GOOD + "    conversation: same\n", "no conversation to go on with"),
        (GOOD + "    tools: [python]\n", "'python' is not among the task's tools"),
        (GOOD + "    check: [{tool_called: pyton}]\n", "'pyton' can never be called"),
        (GOOD.replace("hello", "'{{ inputs.x }}'"), "t.yaml:4: step a.prompt: there is no input 'x'"),
        (GOOD.replace("hello", "'{{ steps.b.text }}'"), "put 'b' into needs"),
        (GOOD.replace("hello", "'{{ nonsense }}'"), "'nonsense' is not known; there are inputs and steps"),
        (GOOD.replace("hello", "|\n      one\n      {{ inputs.x"), "t.yaml:5: step a.prompt: template:"),
        ("inputs:\n  x: {}\n" + GOOD, "t.yaml:2: inputs.x: the input 'x' is never used"),
        ("inputs:\n  x: {type: int, default: y}\n" + GOOD, "must be a whole number"),
        ("inputs:\n  x: {type: choice}\n" + GOOD, "choices belong to the type choice"),
        ("name: t\nname: u\nsteps: []\n", "t.yaml:2: 'name' is there twice"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: [1\n", "t.yaml:2: not YAML"),
        ("- 1\n", "t.yaml:1: a task file is a mapping"),
        ("", "a task file is a mapping"),
        ("a: !!python/object/apply:os.system [x]\n", "not YAML"),
        ("a: \x00\n", "not YAML"),
        ("x: " + "[" * 5000 + "\n", "not YAML"),
        ("x: '" + "a" * 1_000_001 + "'\n", "may have 1 MB"),
    ],
)
def test_every_fault_has_its_place(text: str, said: str) -> None:
    assert said in faults(text)


def test_all_faults_are_told_at_once() -> None:
    text = "name: t\nfoo: 1\nsteps:\n  - {id: a}\n  - {prompt: x}\n"
    assert {line.split(": ")[0] for line in faults(text).splitlines()} >= {"t.yaml:4", "t.yaml:5", "t.yaml:2"}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="No such file"):
        Task.load(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(TaskError, match="not text in UTF-8"):
        Task.load(tmp_path / "b.yaml")
