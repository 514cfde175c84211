"""Functions as tools: schema, docstrings, arguments, results."""

import functools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from pydantic import BaseModel, Field

from arriero.tools import Artifact, ModelRetry, RunContext, Tool, ToolContext, ToolError, ToolResult
from arriero.tools._docstrings import docstring_style, read_docstring
from arriero.tools._results import as_result
from arriero.tools.function import FunctionTool, ToolDefinitionError, as_tool, tool


def call(target: Tool, **arguments: Any) -> ToolResult:
    return anyio.run(target.run, arguments, ToolContext(call_id="c1"))


def properties(target: Tool) -> dict[str, Any]:
    found: dict[str, Any] = target.spec.parameters["properties"]
    return found


def test_spec_of_a_plain_function() -> None:
    @tool
    def weather(city: str, days: int = 1) -> str:
        """Forecast the weather.

        Args:
            city: Name of the city,
                with its country.
            days: How many days.

        Returns:
            A sentence.
        """
        return f"{city}: sun for {days}"

    assert weather.spec.model_dump() == {
        "name": "weather",
        "description": "Forecast the weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city, with its country."},
                "days": {"type": "integer", "description": "How many days.", "default": 1},
            },
            "required": ["city"],
        },
    }
    assert list(properties(weather)["city"]) == ["type", "description"]
    assert call(weather, city="Cusco") == ToolResult("Cusco: sun for 1")


def test_a_decorated_function_is_still_one() -> None:
    @tool(effect="read")
    def double(n: int) -> int:
        """Double it."""
        return 2 * n

    assert double(4) == 8
    assert double.__name__ == "double"
    assert double.__doc__ == "Double it."
    assert repr(double) == "<tool double>"


def test_options() -> None:
    @tool(name="renamed", description="Other words.", effect="idempotent", timeout=2.5)
    def original() -> None:
        """Words."""

    assert original.spec.name == original.name == "renamed"
    assert original.spec.description == "Other words."
    assert (original.effect, original.timeout) == ("idempotent", 2.5)
    assert original.spec.parameters == {"type": "object", "properties": {}}


def test_defaults_of_the_options() -> None:
    @tool
    def plain() -> None: ...

    assert (plain.effect, plain.timeout, plain.spec.description) == ("once", None, "")


NUMPY = """Say it.

    With a second line.

    Parameters
    ----------
    word : str
        The word.
    times : int, optional
        How often.

    Returns
    -------
    str
        All of it.
    """
SPHINX = """Say it.

    With a second line.

    :param word: The word.
    :param int times: How often.
    :returns: All of it.
    """
GOOGLE = """Say it.

    With a second line.

    Args:
        word (str): The word.
        times: How often.

    Raises:
        ValueError: never.
    """


@pytest.mark.parametrize(("text", "style"), [(NUMPY, "numpy"), (SPHINX, "sphinx"), (GOOGLE, "google")])
def test_docstring_styles(text: str, style: str, caplog: pytest.LogCaptureFixture) -> None:
    def say(word: str, times: int = 1) -> str:
        return word * times

    say.__doc__ = text
    made = tool(say)
    assert docstring_style(text) == style
    assert made.spec.description == "Say it.\n\nWith a second line."
    assert properties(made)["word"]["description"] == "The word."
    assert properties(made)["times"]["description"] == "How often."
    assert caplog.text == ""


@pytest.mark.parametrize("text", [None, "", "  \n "])
def test_no_docstring(text: str | None) -> None:
    assert read_docstring(text).summary == ""


def test_a_docstring_without_sections_is_all_summary() -> None:
    assert read_docstring("Time: now.\n\nAnd more: text.").summary == "Time: now.\n\nAnd more: text."


def test_notes_and_an_example_stay_in_the_description() -> None:
    read = read_docstring(
        "Pay.\n\nNote:\n    Not twice.\n\nArgs:\n    sum: how much\n\nExample:\n    >>> pay(1)\n"
    )
    assert read.summary == "Pay.\n\nNote: Not twice.\n\nExample: >>> pay(1)"
    assert read.parameters == {"sum": "how much"}


def test_documented_parameters_that_do_not_exist_are_ignored() -> None:
    @tool
    def f(a: int) -> None:
        """Do.

        Args:
            b: nothing.
        """

    assert properties(f) == {"a": {"type": "integer"}}


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: float
    y: float = 0.0


@dataclass
class Box:
    width: int
    label: str = ""


def test_types_in_the_schema_and_in_the_call() -> None:
    @tool
    def everything(
        colour: Colour,
        point: Point,
        box: Box,
        when: date,
        mode: Literal["a", "b"],
        words: list[str],
        scores: dict[str, float],
        limit: int | None = None,
        size: Annotated[int, Field(ge=1, description="own words")] = 1,
    ) -> str:
        """Take all.

        Args:
            size: not used
        """
        return f"{colour} {point!r} {box} {when!r} {mode} {words} {scores} {limit} {size}"

    schema = everything.spec.parameters
    assert set(schema["$defs"]) == {"Colour", "Point", "Box"}
    assert properties(everything)["words"] == {"type": "array", "items": {"type": "string"}}
    assert properties(everything)["size"]["description"] == "own words"
    assert properties(everything)["size"]["minimum"] == 1
    assert properties(everything)["mode"]["enum"] == ["a", "b"]
    text = call(
        everything,
        colour="red",
        point={"x": "1.5"},
        box={"width": "3"},
        when="2026-11-21",
        mode="b",
        words=["w"],
        scores={"s": 1},
        limit="7",
    ).content
    assert text == (
        "Colour.RED Point(x=1.5, y=0.0) Box(width=3, label='') datetime.date(2026, 11, 21) b ['w'] "
        "{'s': 1.0} 7 1"
    )


@pytest.mark.parametrize(
    ("hint", "given", "expected"),
    [(int, "5", 5), (int, 5.0, 5), (float, "2.5", 2.5), (bool, "true", True), (str, 12345, "12345")],
)
def test_loose_arguments_are_coerced(hint: type, given: Any, expected: Any) -> None:
    def f(x: Any) -> str:
        return repr(x)

    f.__annotations__["x"] = hint
    assert call(tool(f), x=given).content == repr(expected)


def test_wrong_arguments_are_told_and_the_function_is_not_called() -> None:
    calls: list[int] = []

    @tool
    def f(a: int, b: int) -> None:
        calls.append(a)

    with pytest.raises(ModelRetry) as caught:
        call(f, a="x", c=1)
    assert str(caught.value) == (
        "f was not called: a: Input should be a valid integer, unable to parse string as an integer; "
        "b: this argument is required; c: there is no such argument"
    )
    assert calls == []


def test_many_problems_are_cut() -> None:
    @tool
    def f(a: list[int]) -> None: ...

    with pytest.raises(ModelRetry, match="and 95 more"):
        call(f, a=["x"] * 100)


def test_awkward_names_and_defaults() -> None:
    marker = object()

    @tool
    def f(json: str, schema: int = 1, _x: int = 2, model_config: int = 3, other: Any = marker) -> str:
        return f"{json} {schema} {_x} {model_config} {other is marker}"

    assert list(properties(f)) == ["json", "schema", "_x", "model_config", "other"]
    assert call(f, json="j", _x=5).content == "j 1 5 3 True"


def test_keyword_only_parameters() -> None:
    @tool
    def f(a: int, *, b: int = 2) -> int:
        return a + b

    assert call(f, a=1, b="5").content == "6"


def test_the_context_is_given_and_hidden() -> None:
    @tool
    def f(a: int, context: ToolContext) -> str:
        return f"{a} {context.call_id}"

    assert list(properties(f)) == ["a"]
    assert call(f, a=1).content == "1 c1"
    with pytest.raises(ModelRetry, match="no such argument"):
        call(f, a=1, context={})


def test_dependencies_are_given_and_hidden() -> None:
    @tool
    def f(ctx: RunContext[dict[str, int]], key: str) -> str:
        ctx.on_output("stdout", "looking")
        return f"{ctx.deps[key]} {ctx.tool_name} {ctx.approved}"

    said: list[tuple[str, str]] = []
    context = RunContext("c1", lambda *piece: said.append(piece), {"a": 7}, "f")
    assert list(properties(f)) == ["key"]
    assert anyio.run(f.run, {"key": "a"}, context).content == "7 f False"
    assert said == [("stdout", "looking")]
    assert f(context, "a") == "7 f False"


def test_one_context_is_enough() -> None:
    def f(one: RunContext[None], two: RunContext[int]) -> None: ...

    with pytest.raises(ToolDefinitionError, match="two parameters are annotated RunContext"):
        tool(f)


@pytest.mark.parametrize(
    ("approval", "given", "needed"),
    [(False, 1, False), (True, 1, True), (lambda a: a["n"] > 5, 1, False), (lambda a: a["n"] > 5, 6, True)],
)
def test_approval_rules(approval: Any, given: int, needed: bool) -> None:
    @tool(approval=approval)
    def f(n: int) -> None: ...

    assert f.needs_approval({"n": given}) is needed


def test_no_more_calls_at_once_than_allowed_in_any_loop() -> None:
    lock = threading.Lock()
    running, most = 0, 0

    @tool(max_concurrency=2)
    def f() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    async def several() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(f.run, {}, ToolContext())

    loops = [threading.Thread(target=anyio.run, args=(several,)) for _ in range(2)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join(30)
    assert most == 2


def test_an_abandoned_call_keeps_its_place_and_a_cancelled_wait_takes_none() -> None:
    release = threading.Event()

    @tool(max_concurrency=1)
    def f(block: bool) -> str:
        if block:
            release.wait(30)
        return "ran"

    async def run() -> tuple[bool, str]:
        with anyio.move_on_after(0.05):
            await f.run({"block": True}, ToolContext())
        with anyio.move_on_after(0.05) as waited:
            await f.run({"block": False}, ToolContext())
        release.set()
        return waited.cancelled_caught, (await f.run({"block": False}, ToolContext())).content

    assert anyio.run(run) == (True, "ran")


def test_a_place_is_given_back_after_a_fault() -> None:
    @tool(max_concurrency=1)
    async def f(wrong: bool) -> str:
        if wrong:
            raise ValueError("wrong")
        return "ran"

    with pytest.raises(ValueError, match="wrong"):
        call(f, wrong=True)
    assert call(f, wrong=False).content == "ran"


def test_an_abandoned_thread_does_not_hold_up_the_end_of_the_program() -> None:
    code = """
import anyio, time
from arriero.tools import ToolContext, tool

@tool
def blocks() -> None:
    time.sleep(600)

async def main():
    with anyio.move_on_after(0.1):
        await blocks.run({}, ToolContext())

anyio.run(main)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


def test_async_functions() -> None:
    @tool
    async def f(a: int) -> int:
        await anyio.lowlevel.checkpoint()
        return a + 1

    assert call(f, a=1).content == "2"


def test_sync_functions_run_in_a_worker_thread() -> None:
    @tool
    def f() -> bool:
        return threading.current_thread() is threading.main_thread()

    assert call(f).content == "false"


def test_cancel_does_not_wait_for_a_sync_function() -> None:
    release = threading.Event()

    @tool
    def f() -> None:
        release.wait(10)

    async def run() -> float:
        begun = time.monotonic()
        with anyio.move_on_after(0.1):
            await f.run({}, ToolContext())
        spent = time.monotonic() - begun
        release.set()
        return spent

    assert anyio.run(run) < 4.0


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text é", "text é"),
        ("", ""),
        (None, "null"),
        (3, "3"),
        (True, "true"),
        ({"é": [1, None]}, '{"é": [1, null]}'),
        ((1, 2), "[1, 2]"),
        (date(2026, 11, 21), '"2026-11-21"'),
        (Point(x=1), '{"x": 1.0, "y": 0.0}'),
        (Box(2), '{"width": 2, "label": ""}'),
        (Colour.RED, '"red"'),
        (np.int64(3), "3"),
        (np.array([[1.5, 2.0]]), "[[1.5, 2.0]]"),
    ],
)
def test_results(value: Any, content: str) -> None:
    @tool
    def f() -> Any:
        return value

    assert call(f) == ToolResult(content)


def test_results_with_bytes_and_artifacts() -> None:
    picture = Artifact("a.png", "image/png", b"123")
    whole = ToolResult("said", (picture,), error=True)

    @tool
    def f(which: int) -> Any:
        return [b"\x00\x01", picture, whole][which]

    assert call(f, which=0) == ToolResult(
        "[f.bin: application/octet-stream, 2 bytes]",
        (Artifact("f.bin", "application/octet-stream", b"\x00\x01"),),
    )
    assert call(f, which=1) == ToolResult("[a.png: image/png, 3 bytes]", (picture,))
    assert call(f, which=2) is whole


@pytest.mark.parametrize(
    ("start", "name", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n", "f.png", "image/png"),
        (b"\xff\xd8\xff", "f.jpg", "image/jpeg"),
        (b"%PDF-1.7", "f.pdf", "application/pdf"),
    ],
)
def test_bytes_of_known_formats(start: bytes, name: str, mime: str) -> None:
    @tool
    def f() -> bytes:
        return start

    assert call(f).artifacts == (Artifact(name, mime, start),)


def test_results_with_files_and_parts(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b")
    picture = Artifact("a.png", "image/png", b"123")

    @tool
    def f(file: str) -> list[Any]:
        return ["Here:", tmp_path / file, {"rows": 1}, picture]

    result = call(f, file="table.csv")
    assert result.content == 'Here:\n[table.csv: text/csv, 3 bytes]\n{"rows": 1}\n[a.png: image/png, 3 bytes]'
    assert result.artifacts == (Artifact("table.csv", "text/csv", b"a,b"), picture)
    with pytest.raises(FileNotFoundError):
        call(f, file="none.csv")


class Drawing:
    def __init__(self, data: Any) -> None:
        self.data = data

    def _repr_png_(self) -> Any:
        return self.data


def test_results_that_draw_themselves() -> None:
    png = b"\x89PNG\r\n\x1a\n"
    drawn = as_result(Drawing(png), name="plot")
    assert drawn == ToolResult("[plot.png: image/png, 8 bytes]", (Artifact("plot.png", "image/png", png),))
    assert len(as_result(["two", Drawing(png), Drawing(png)], name="plot").artifacts) == 2
    with pytest.raises(TypeError, match="cannot be written as PNG"):
        as_result(Drawing(None), name="plot")
    image = pytest.importorskip("PIL.Image")
    assert as_result(image.new("RGB", (2, 2)), name="dot").artifacts[0].data.startswith(png)


def test_iterators_are_not_read() -> None:
    async def later() -> AsyncIterator[int]:
        yield 1

    for endless in (iter(int, 1), (n for n in (1, 2)), later(), map(str, [1])):
        with pytest.raises(TypeError, match=r"f returned a .*; return a list of what it yields"):
            as_result(endless, name="f")


def test_half_surrogate_pairs_become_replacement_characters() -> None:
    assert as_result("a\ud800b \ud83d\ude00", name="f").content == "a\ufffdb 😀"
    assert as_result({"a": "\ud800"}, name="f").content == '{"a": "\ufffd"}'


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_path_to_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match="not a plain file"):
            as_result(path, name="f")
    with pytest.raises(FileNotFoundError):
        as_result(tmp_path / "none", name="f")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(65 * 1024 * 1024)

    @tool
    def f() -> Path:
        return large

    with pytest.raises(ValueError, match=r"large\.bin is larger than 64 MiB"):
        call(f)


def test_results_that_have_no_form() -> None:
    loop: list[Any] = []
    loop.append(loop)

    @tool
    def f(which: int) -> Any:
        return [object(), loop, {1: {object()}}][which]

    for which in range(3):
        with pytest.raises(TypeError, match="what f returned cannot be written as JSON"):
            call(f, which=which)


@pytest.mark.parametrize("error", [ToolError("a"), ModelRetry("b"), ValueError("c"), KeyError("d")])
def test_errors_of_the_function_pass_through(error: Exception) -> None:
    @tool
    def f() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        call(f)
    assert caught.value is error


@pytest.mark.parametrize("stop", [SystemExit(3), StopIteration()])
def test_a_function_cannot_end_the_program(stop: BaseException) -> None:
    @tool
    def f() -> None:
        raise stop

    with pytest.raises(RuntimeError):
        call(f)


def many(*values: int) -> None: ...
def any_named(**values: int) -> None: ...
def by_position(value: int, /) -> None: ...
def bare(value) -> None: ...  # type: ignore[no-untyped-def]
def unknown(value: "Nowhere") -> None: ...  # type: ignore[name-defined] # noqa: F821
def odd_type(value: threading.Lock) -> None: ...  # type: ignore[valid-type]
def function_type(value: Callable[[int], int]) -> None: ...
def field_default(value: int = Field(ge=1)) -> None: ...
async def many_values(value: int) -> AsyncIterator[int]:
    yield value


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (many, "'values' takes any number"),
        (any_named, "'values' takes any number"),
        (by_position, "'value' is positional-only"),
        (bare, "'value' has no type annotation"),
        (unknown, "cannot be resolved.*Nowhere"),
        (odd_type, "tool odd_type: "),
        (function_type, "tool function_type: "),
        (field_default, r"write Annotated\[type, Field"),
        (many_values, "yields"),
        (lambda: 1, "<lambda>.*name="),
        (functools.partial(bare, 1), "name="),
    ],
)
def test_bad_signatures_are_refused_at_once(function: Any, words: str) -> None:
    with pytest.raises(ToolDefinitionError, match=words):
        tool(function)


@pytest.mark.parametrize("options", [{"name": "a b"}, {"name": "x" * 65}, {"timeout": 0}, {"timeout": -1.0}])
def test_bad_options_are_refused_at_once(options: dict[str, Any]) -> None:
    def f() -> None: ...

    with pytest.raises(ToolDefinitionError):
        tool(**options)(f)


def test_partials_methods_and_callable_objects() -> None:
    class Counter:
        def __init__(self) -> None:
            self.total = 0

        def add(self, n: int) -> int:
            """Add to the total."""
            self.total += n
            return self.total

        def __call__(self, n: int) -> int:
            """Take from the total."""
            self.total -= n
            return self.total

    class Later:
        async def __call__(self, n: int) -> int:
            return n + 1

    counter = Counter()
    added = as_tool(counter.add)
    assert (added.name, added.spec.description) == ("add", "Add to the total.")
    assert call(added, n="4").content == "4"
    taken = tool(name="take")(counter)
    assert taken.spec.description == "Take from the total."
    assert call(taken, n=1).content == "3"
    assert call(tool(name="later")(Later()), n=1).content == "2"

    def power(base: int, exponent: int) -> int:
        return int(base**exponent)

    assert call(tool(name="square")(functools.partial(power, exponent=2)), base=3).content == "9"


def test_as_tool() -> None:
    def f() -> None: ...

    made = as_tool(f)
    assert isinstance(made, FunctionTool)
    assert as_tool(made) is made
    for thing in (3, "f", Point):
        with pytest.raises(ToolDefinitionError, match="neither a tool nor a function"):
            as_tool(thing)  # type: ignore[arg-type]


def test_large_results_are_whole() -> None:
    @tool
    def f() -> list[int]:
        return list(range(100_000))

    assert len(json.loads(call(f).content)) == 100_000
