"""Files, memory and machines that are not as they should be: each is one clear error, or no matter at all."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import arriero
from arriero.agent import Agent, RunResult
from arriero.agent.backends import Constraint, ContextOverflow, Model, ModelError, Sampling, Token
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.backends.wrapped import Wrapped
from arriero.agent.models import bundled_model
from arriero.prompts import Segment, ToolSpec
from arriero.prompts.parser import parse

from .tiny_gguf import CONTROL, write_tiny_gguf

GREEDY = Sampling(temperature=0)


def generate(
    model: Model, tokens: list[int], count: int | None = None, constraint: Constraint | None = None
) -> list[Token]:
    async def main() -> list[Token]:
        stream = model.generate(tokens, GREEDY, max_tokens=count, constraint=constraint)
        return [token async for token in stream]

    return asyncio.run(main())


def without(*names: str) -> tuple[str, ...]:
    return tuple(name for name in CONTROL if name not in names)


@pytest.mark.parametrize("name", ["<|eot_id|>", "<|start_header_id|>", "<|begin_of_text|>"])
def test_a_file_without_the_control_tokens_of_llama_3(tmp_path: Path, name: str) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", control=without(name))
    with pytest.raises(
        ModelError, match=r"is no Llama 3 chat model: its vocabulary lacks <\|\w+\|>"
    ) as caught:
        LlamaCppModel(path)
    assert name in str(caught.value)


def test_a_vocabulary_without_the_code_tag_still_talks(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", control=without("<|python_tag|>", "<|eom_id|>"))
    model = LlamaCppModel(path, n_threads=1)
    assert len(generate(model, [1, 2], 3)) == 3
    with pytest.raises(ModelError, match=r"has no control token '<\|python_tag\|>'"):
        model.tokenize([Segment("<|python_tag|>", special=True)])
    plain = model.tokenize([Segment("<|python_tag|>")])  # as text it is no more than text
    assert "".join(map(model.engine.vocab.text, plain)) == "<|python_tag|>"
    model.engine.close()


def test_the_context_ends_inside_a_message(scripted: Path) -> None:
    model = LlamaCppModel(scripted, n_ctx=300, n_threads=1)
    tokens = generate(model, [ord("z")] * 290)
    assert (len(tokens), tokens[-1].stop) == (11, None)  # cut off, and said so by the missing stop
    with pytest.raises(ContextOverflow, match="shorten the conversation or give the model a larger context"):
        generate(model, [ord("z")] * 302)
    assert len(generate(model, [ord("a")])) == 2
    model.engine.close()


def test_the_context_ends_inside_a_call(tiny: Path) -> None:
    text = {"type": "string", "minLength": 500}
    spec = ToolSpec(
        name="note",
        parameters={"type": "object", "properties": {"text": text}, "required": ["text"]},
    )
    model = LlamaCppModel(tiny, n_ctx=200, n_threads=1)
    tokens = generate(model, [1] * 60, constraint=Constraint((spec,), required=True))
    written = "".join(token.text for token in tokens)
    assert (len(tokens), tokens[-1].stop) == (141, None)
    assert "note" in written
    assert not parse(written, (spec,)).calls  # what is not complete is never run
    assert len(generate(model, [1] * 60, 3)) == 3
    model.engine.close()


class Noting(Wrapped):
    """Notes how long the prompts are that pass."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.lengths: list[int] = []

    async def generate(
        self, tokens: Sequence[int], sampling: Sampling, **options: Any
    ) -> AsyncGenerator[Token, None]:
        self.lengths.append(len(tokens))
        async for token in self._model.generate(tokens, sampling, **options):
            yield token


@pytest.mark.parametrize("room", [1, 6, 10])
def test_a_run_whose_context_ends_inside_a_call_runs_nothing(room: int) -> None:
    ran: list[str] = []

    def count_stock(item: str) -> int:
        """Count the stock."""
        ran.append(item)
        return 3

    def ask(n_ctx: int | None) -> tuple[RunResult[str], Noting]:
        model = Noting(LlamaCppModel(bundled_model(), n_threads=1, n_ctx=n_ctx))
        with Agent(model, tools=[count_stock], sampling=GREEDY) as agent:
            return agent.run_sync("Count the stock with item Chisel"), model

    whole, model = ask(None)
    assert (whole.stop_reason, ran) == ("final", ["Chisel"])
    assert model.lengths[1] - model.lengths[0] > 12  # the call alone is longer than the room below
    cut, _ = ask(model.lengths[0] + room)
    assert (cut.stop_reason, ran) == ("max_tokens", ["Chisel"])


PROGRAM = """
import asyncio, sys
from arriero.agent.backends import Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel
model = LlamaCppModel(sys.argv[1], n_threads=1)
async def main():
    tokens = [token.id async for token in model.generate([1, 2, 3], Sampling(temperature=0), max_tokens=20)]
    print(tokens, flush=True)
    sys.stdin.readline()
asyncio.run(main())
"""


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Callable[..., "subprocess.Popen[str]"]:
    def program(code: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(arriero.__file__).parents[1])},
        )
        request.addfinalizer(lambda: (process.kill(), process.communicate()))
        return process

    return program


def test_two_processes_on_one_file(tiny: Path, start: Callable[..., "subprocess.Popen[str]"]) -> None:
    both = [start(PROGRAM, str(tiny)) for _ in range(2)]
    assert both[0].stdout
    assert both[1].stdout
    first, second = both[0].stdout.readline(), both[1].stdout.readline()  # each lives while the other works
    assert first == second != ""


def test_a_file_that_is_overwritten_by_renaming_while_running(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf")
    model = LlamaCppModel(path, n_threads=1)
    before = generate(model, [1, 2, 3], 5)
    write_tiny_gguf(tmp_path / "new.gguf", seed=5).replace(path)
    assert generate(model, [9], 1)
    assert generate(model, [1, 2, 3], 5) == before
    model.engine.close()


def test_no_memory_for_the_header(tiny: Path, start: Callable[..., "subprocess.Popen[str]"]) -> None:
    code = """
import resource, sys
from arriero.agent.backends import ModelError
from arriero.agent.backends.gguf import GGUFInfo
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 20), -1))
try:
    GGUFInfo.read(sys.argv[1])
except ModelError as error:
    print(error)
"""
    out, _ = start(code, str(tiny)).communicate(timeout=60)
    assert "there is not even memory to read its header" in out


def test_no_memory_for_the_weights(tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]) -> None:
    path = write_tiny_gguf(tmp_path / "large.gguf", inner=40_000)  # 120 MB
    code = """
import resource, sys
from arriero.agent.backends import ModelError
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.backends.llama_cpp import LlamaCppModel
LlamaCppModel(sys.argv[1], n_threads=1).engine.close()  # all that is not its weights is there now
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (60 << 20), -1))
try:
    LlamaCppModel(sys.argv[2], n_threads=1)
except ModelError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
print(LlamaCppModel(sys.argv[1], n_threads=1).context_length)
"""
    tiny = write_tiny_gguf(tmp_path / "tiny.gguf")
    out, _ = start(code, str(tiny), str(path)).communicate(timeout=60)
    said, length = out.splitlines()
    assert f"{path}: llama.cpp cannot load it: " in said
    assert "its weights take 0.1 GiB of memory: a smaller quantisation or a smaller model may fit" in said
    assert length == "8192"  # and the process goes on


def test_no_memory_to_load_is_survived_by_isolation(
    tiny: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    code = """
import resource, sys
from arriero.agent.backends import ModelError
from arriero.agent.backends.isolated import IsolatedModel
resource.setrlimit(resource.RLIMIT_AS, (60 << 20, -1))
try:
    IsolatedModel(sys.argv[1], n_threads=1)
except ModelError as error:
    print("ModelError", error)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
model = IsolatedModel(sys.argv[1], n_threads=1)
print(model.context_length)
model.close()
"""
    out, _ = start(code, str(tiny)).communicate(timeout=60)
    lines = out.splitlines()
    assert len(lines) == 2, out
    assert lines[0].startswith("ModelError")
    assert lines[1] == "8192"
