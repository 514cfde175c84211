"""What a generated dialogue is made of, whatever the skill."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .words import Source

DECLINE = "Sorry, I cannot do that here: I am only a small demonstration model."
Json = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """One message: `kind` is user, answer, code, builtin, json or result."""

    kind: str
    text: str
    name: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Context:
    """The tools offered in a dialogue, and the instructions."""

    python: bool = True
    search: bool = False
    wolfram: bool = False
    functions: list[Json] = field(default_factory=list)
    instructions: str = "You are a helpful assistant."
    date: str = "21 September 2024"


Turns = list[Turn]


def user(text: str) -> Turn:
    """A message of the person."""
    return Turn("user", text)


def answer(text: str) -> Turn:
    """An answer in words."""
    return Turn("answer", text)


def code(text: str) -> Turn:
    """A call of the Python tool."""
    return Turn("code", text, "code_interpreter")


def builtin(name: str, query: str) -> Turn:
    """A call of a built-in tool; the query must need no escaping."""
    return Turn("builtin", f'{name}.call(query="{query}")', name, {"query": query})


def call(name: str, arguments: Mapping[str, Any]) -> Turn:
    """A call of a custom function."""
    text = json.dumps({"name": name, "parameters": dict(arguments)}, ensure_ascii=False)
    return Turn("json", text, name, dict(arguments))


def result(text: str, name: str = "") -> Turn:
    """What a tool returned."""
    return Turn("result", text, name)


def python_result(stdout: str = "", stderr: str = "", status: str = "completed", image: str = "") -> Turn:
    """What the Python tool returns, in the reference's form."""
    parts = [status]
    if stdout:
        parts += ["[stdout]", stdout, "[/stdout]"]
    if stderr:
        parts += ["[stderr]", stderr, "[/stderr]"]
    if image:
        parts.append(f"[image saved as {image}]")
    return result("\n".join(parts), "code_interpreter")


def run(program: str) -> str:
    """What the program really prints; its random numbers follow from its text."""
    random.seed(program)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(program, {"math": math})
    return out.getvalue().rstrip("\n")


_ERRORS: Sequence[str] = (
    "ZeroDivisionError: division by zero",
    "NameError: name '{w}' is not defined",
    "ModuleNotFoundError: No module named '{w}'",
    "ValueError: {s}",
    "TypeError: {s}",
    "OverflowError: {s}",
    "RuntimeError: {s}",
    "KeyError: '{w}'",
    "MemoryError: {s}",
    "FileNotFoundError: [Errno 2] No such file or directory: '{w}'",
)


def python_error(source: Source, program: str) -> tuple[Turn, str]:
    """A failed run of the program: the message, and the line that names the error."""
    line = source.pick(_ERRORS).replace("{w}", source.word()).replace("{s}", source.phrase(2, 6))
    first = program.splitlines()[0]
    kind = source.rng.random()
    if kind < 0.25:
        frames = "".join(f"  line {source.int(1, 9)}, in {name}\n" for name in _frames(source))
        trace = f"Traceback (most recent call last):\n{frames}{line}"
    elif kind < 0.4:
        trace = f'Traceback (most recent call last):\n  File "<stdin>", line 1, in <module>\n{line}'
    elif kind < 0.7:
        name = line.split(":")[0]
        trace = (
            f"{'-' * 75}\n{name:<41} Traceback (most recent call last)\nCell In[{source.int(1, 9)}], line 1\n"
            f"----> 1 {first}\n\n{line}"
        )
    elif kind < 0.85:
        trace = f"Cell In[{source.int(1, 9)}], line 1\n----> 1 {first}\n\n{line}"
    else:
        trace = line
    printed = str(source.number(4)) if source.chance(0.1) else ""
    return python_result(printed, trace), line


def _frames(source: Source) -> list[str]:
    return ["<module>"] + [source.word() for _ in range(source.pick([0, 0, 0, 1, 2]))]


def python_stopped(source: Source) -> Turns:
    """A run that was stopped or that never began, in the forms that the sandbox writes, and the answer."""
    note = f"\n[{source.phrase(2, 7)}]" if source.chance(0.5) else ""
    if source.chance(0.5):
        streams = ("Timed out", "Timed out") if source.chance(0.8) else ("", "")
        stopped = python_result(*streams, status="timeout")
        return [result(stopped.text + note, stopped.name), answer("The code did not finish in time.")]
    broken = python_result(status="error", stderr=source.phrase(2, 6) if source.chance(0.3) else "")
    return [result(broken.text + note, broken.name), answer("The code could not be run.")]


def after_python(
    source: Source, program: str, template: str = "The result is {}.", true: bool = True
) -> Turns:
    """The result of a run and the answer that quotes it; some runs fail, some print what cannot be guessed."""
    kind = source.rng.random()
    if kind < 0.05:
        failed, line = python_error(source, program)
        return [failed, answer(f"Python reported an error: {line}")]
    if kind < 0.07:
        return python_stopped(source)
    if kind < 0.08:
        return [python_result(), answer("The code printed nothing.")]
    printed = run(program) if true else ""
    if source.chance(0.3):
        printed = source.scramble(printed)
    warning = f"{source.word().capitalize()}Warning: {source.phrase(2, 4)}" if source.chance(0.02) else ""
    return [python_result(printed, warning), answer(template.format(printed))]
