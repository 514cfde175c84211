"""Expressions of checks say what they mean and can do nothing else."""

import pytest

from arriero.agent.tasks.errors import TaskError
from arriero.agent.tasks.expression import evaluate, parse

NAMES = {"output": {"n": 3, "items": [1, 2], "class": "x"}, "text": "Hello", "tools": ["a"]}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("output.n * 2 + 1 == 7", True),
        ("output['items'][-1] == 2", True),
        ("1 < output.n <= 3", True),
        ("'ell' in text and not 'z' in text", True),
        ("len(output['items']) if output.n else 0", 2),
        ("lower(text)", "hello"),
        ("output.n ** 2", 9),
        ("true and not false and null is null", True),
        ("sum([1, 2, output.n])", 6),
    ],
)
def test_values(source: str, value: object) -> None:
    assert evaluate(parse(source), NAMES) == value


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os')", "open('x')", "lambda: 1", "[x for x in tools]", "f'{text}'", "text.upper()", "globals",
        "output := 1", "(", "", "a" * 3000, "x\x00", "(" * 300 + ")" * 300, "max(tools, key=len)", "await x",
        "b'x'", "...",
    ],
)  # fmt: skip
def test_what_is_outside_of_the_language(source: str) -> None:
    with pytest.raises(TaskError):
        parse(source)


@pytest.mark.parametrize(
    "source",
    [
        "text * 10",
        "'a' * 9999999",
        "9 ** 9 ** 9",
        "text.__class__",
        "output.missing",
        "tools['x']",
        "text % output",
        "1 / 0",
        "int(text)",
    ],
)
def test_what_the_data_do_not_have(source: str) -> None:
    with pytest.raises(TaskError):
        evaluate(parse(source), NAMES)
