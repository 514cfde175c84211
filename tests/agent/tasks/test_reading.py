"""Task files that are wrong, and where they are."""

from pathlib import Path

import pytest

from arriero.agent.tasks import Check, Defaults, Input, Retry, Step, Task, TaskError


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
        ("name: t\n", "t.yaml:1: steps: is missing"),
        ("version: 2\n" + GOOD, "t.yaml:1: version: must be 1"),
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
        (GOOD + "  - {id: b, prompt: '{{ steps.a.text }}'}\n", "put 'a' into needs"),
        (GOOD.replace("hello", "'{{ nonsense }}'"), "'nonsense' is not known; there are inputs and steps"),
        (GOOD.replace("hello", "|\n      one\n      {{ inputs.x"), "t.yaml:5: step a.prompt: template:"),
        ("inputs:\n  x: {}\n" + GOOD, "t.yaml:2: inputs.x: the input 'x' is never used"),
        ("inputs:\n  x: {type: int, default: y}\n" + GOOD, "must be a whole number"),
        ("inputs:\n  x: {type: choice}\n" + GOOD, "choices belong to the type choice"),
        (
            GOOD.replace("hello", "'{{ inputs.x | nosuch }}'"),
            "step a.prompt: template: No filter named 'nosuch'",
        ),
        (GOOD + "    needs: [a]\n", "t.yaml:5: step a.needs: 'a' is the step itself"),
        ("result: '{{ steps.b.text }}'\n" + GOOD, "t.yaml:1: result: steps.b.text is used: 'b' is no step"),
        (
            GOOD + "  - {id: b, needs: [a], prompt: '{{ steps.a.ouput }}'}\n",
            "t.yaml:5: step b.prompt: steps.a.ouput is used: a step has output, text, tools; did you mean 'output'?",
        ),
        (GOOD + "    check: {contains: x}\n", "t.yaml:5: steps[0].check: must be a list, like [a, b]"),
        (
            GOOD + "    check: [short]\n",
            "steps[0].check[0]: must be a mapping, of lines like name: value; there are",
        ),
        (
            GOOD + "    retry: 3\n",
            "steps[0].retry: must be a mapping, of lines like name: value; there are attempts",
        ),
        (GOOD + "    output: json\n", "t.yaml:5: steps[0].output: must be a mapping"),
        (GOOD + "    check: [{judge: ''}]\n", "t.yaml:5: steps[0].check[0].judge: must not be empty"),
        (
            GOOD.replace("id: a", "id: 1"),
            "t.yaml:3: steps[0].id: must be a text; where it looks like something",
        ),
        (GOOD.replace("name: t", "name: my task"), "t.yaml:1: name: may have letters, digits, _ and -"),
        ("approve: {x: ask}\n" + GOOD, "t.yaml:1: approve.x: must be 'always' or 'never'"),
        ("name: t\nsteps: []\n", "t.yaml:2: steps: needs at least one"),
        ("name: t\nsteps:\n\t- id: a\n", "t.yaml:3: not YAML: while scanning"),
        ("name: t\nsteps:\n\t- id: a\n", "; indent with spaces, never with tabs"),
        (GOOD.replace("hello", "{{ inputs.x }}"), "; put a text that begins with {{ in quotes"),
        (GOOD.replace("hello", "Say this: hello"), "; put a text with a colon in quotes"),
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


def test_a_list_of_wrong_things_is_not_called_empty() -> None:
    assert "at least one" not in faults(GOOD + "    retry: 3\n")


def test_all_faults_are_told_at_once() -> None:
    text = "name: t\nfoo: 1\nsteps:\n  - {id: a}\n  - {prompt: x}\n"
    assert {line.split(": ")[0] for line in faults(text).splitlines()} >= {"t.yaml:4", "t.yaml:5", "t.yaml:2"}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="No such file"):
        Task.load(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(TaskError, match="not text in UTF-8"):
        Task.load(tmp_path / "b.yaml")


def test_a_task_made_in_python_is_the_same_as_its_file() -> None:
    made = Task(
        name="both",
        inputs={"city": Input(default="Lima"), "day": Input(type="date", default="2026-11-21")},
        defaults=Defaults(seed=7, judge="same"),
        tools=("find",),
        approve={"*": "always"},
        steps=(
            Step(
                id="a",
                prompt="One line\nand another: {{ inputs.city }} on {{ inputs.day }}\n",
                output={"type": "object", "properties": {"n": {"type": "integer"}}},
                check=(
                    Check(tool_called="find"),
                    Check(equals={"n": 1}),
                    Check(equals=None),
                    Check(judge="kind: yes"),
                ),
                retry=Retry(attempts=2),
            ),
            Step(id="b", prompt="{{ steps.a.output.n }}", needs=("a",), conversation="same"),
        ),
        result={"n": "{{ steps.a.output.n }}"},
    )
    read = Task.parse(made.to_yaml())
    assert read.digest == made.digest
    assert read.model_dump() == made.model_dump()
    assert Task.parse(read.to_yaml()).to_yaml() == made.to_yaml()
    assert "prompt: |\n" in made.to_yaml()


def test_what_only_python_can_say_is_not_written() -> None:
    task = Task(name="t", steps=(Step(id="a", prompt="p", check=(Check(python=lambda result: True),)),))
    with pytest.raises(TaskError, match="put functions into a file"):
        task.to_yaml()
