"""A model in a process of its own: the same answers, and its death is an error here."""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from arriero.agent.backends import (
    Constraint,
    ContextOverflow,
    IsolatedModel,
    Model,
    ModelError,
    Progress,
    Sampling,
    TellsProgress,
    Token,
)
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.prompts import Segment, ToolSpec

from .tiny_gguf import token_id

GREEDY = Sampling(temperature=0, logprobs=2)
Z = ord("z")


@pytest.fixture(scope="module")
def isolated(scripted: Path) -> Iterator[IsolatedModel]:
    model = IsolatedModel(scripted, n_threads=1, n_ctx=4096, n_parallel=2)
    yield model
    model.close()


async def collect(model: Model, tokens: list[int], count: int | None = None) -> list[Token]:
    return [token async for token in model.generate(tokens, GREEDY, max_tokens=count)]


def gone(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_says_what_the_model_in_process_says(isolated: IsolatedModel, scripted: Path) -> None:
    as_protocol: Model = isolated
    here = LlamaCppModel(scripted, n_threads=1)
    for start in "acde":
        assert asyncio.run(collect(as_protocol, [ord(start)])) == asyncio.run(collect(here, [ord(start)]))
    segments = [Segment("<|eot_id|>", special=True), Segment("a<|eot_id|>é\ud800")]
    assert isolated.tokenize(segments) == here.tokenize(segments)
    assert (isolated.name, isolated.dialect, isolated.context_length) == ("tiny", "llama3.1", 4096)
    assert (isolated.threads, isolated.constrains) == (1, here.constrains)
    assert isolated.placement == here.placement
    here.engine.close()


def test_counts_and_reads_ahead(isolated: IsolatedModel) -> None:
    before = isolated.stats.prefilled_tokens
    asyncio.run(isolated.prefill([7] * 50))
    asyncio.run(collect(isolated, [*[7] * 50, ord("a")]))
    assert isolated.stats.prefilled_tokens - before == 51


def test_several_at_once_and_breaking_off(isolated: IsolatedModel) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(collect(isolated, [index, Z], 30)) for index in range(3)]
        assert all([token.id for token in task.result()] == [Z] * 30 for task in tasks)
        async with aclosing(isolated.generate([Z], GREEDY)) as tokens:
            await anext(tokens)
        assert len(await collect(isolated, [ord("a")])) == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (Constraint(answer={"const": "yes"}), '"yes"'),
        (Constraint((ToolSpec(name="lookup"),), required=True), "lookup"),
    ],
)
def test_constraints_cross_over(isolated: IsolatedModel, constraint: Constraint, expected: str) -> None:
    async def main() -> list[Token]:
        stream = isolated.generate([1], Sampling(temperature=0), max_tokens=40, constraint=constraint)
        return [token async for token in stream]

    text = "".join(token.text for token in asyncio.run(main()) if not token.stop)
    assert expected in text


def test_errors_cross_over(isolated: IsolatedModel, tmp_path: Path) -> None:
    with pytest.raises(ContextOverflow, match=r"4097 tokens .* 4096"):
        asyncio.run(collect(isolated, [Z] * 4097))
    with pytest.raises(ModelError, match="no control token"):
        isolated.tokenize([Segment("<|no|>", special=True)])
    with pytest.raises(ModelError, match="outside"):
        asyncio.run(collect(isolated, [10**6]))
    with pytest.raises(ModelError, match="No such file"):
        IsolatedModel(tmp_path / "none.gguf")


def test_settings_are_checked_over_there(scripted: Path) -> None:
    with pytest.raises(ModelError, match="n_ctx must be at least 1"):
        IsolatedModel(scripted, n_ctx=-1)
    with pytest.raises(ModelError, match="unexpected keyword argument 'n_contexts'"):
        IsolatedModel(scripted, n_contexts=1)  # type: ignore[call-arg]


def test_death_is_an_error(scripted: Path) -> None:
    model = IsolatedModel(scripted, n_threads=1)

    async def main() -> None:
        stream = model.generate([Z], GREEDY)
        await anext(stream)
        os.kill(model.pid, signal.SIGABRT)  # what ggml does when something cannot be
        with pytest.raises(ModelError, match="ended by SIGABRT"):
            async for _ in stream:
                pass
        with pytest.raises(ModelError, match="ended by SIGABRT; load the model again"):
            await collect(model, [1])

    asyncio.run(main())
    with pytest.raises(ModelError, match="SIGABRT"):
        model.tokenize([Segment("a")])
    model.close()


def test_closing_ends_the_process(scripted: Path) -> None:
    model = IsolatedModel(scripted, n_threads=1)

    async def main() -> None:
        running = asyncio.create_task(collect(model, [Z]))
        await asyncio.sleep(0.05)
        await model.aclose()
        await model.aclose()
        with pytest.raises(ModelError, match="closed"):
            await running

    asyncio.run(main())
    assert gone(model.pid)


def test_nothing_is_left_of_a_forgotten_model(scripted: Path) -> None:
    model = IsolatedModel(scripted, n_threads=1)
    pid = model.pid
    assert model.tokenize([Segment("<|eot_id|>", special=True)]) == [token_id("<|eot_id|>")]
    del model
    gc.collect()
    assert gone(pid)


def test_how_far_the_child_is_can_be_asked(isolated: IsolatedModel) -> None:
    assert isinstance(isolated, TellsProgress)

    async def main() -> list[Progress]:
        told: list[Progress] = []
        async with aclosing(isolated.generate([5] * 900 + [Z], GREEDY, max_tokens=2000)) as tokens:
            async for _ in tokens:
                if (progress := await asyncio.to_thread(isolated.progress)) is not None:
                    told.append(progress)
                if len(told) == 3:
                    break
        return told

    told = asyncio.run(main())
    assert {(one.read, one.prompt) for one in told} == {(901, 901)}
    assert 0 < told[0].written <= told[-1].written


def test_a_child_that_has_ended_tells_nothing(scripted: Path) -> None:
    model = IsolatedModel(scripted, n_threads=1)
    assert model.progress() is None
    model.close()
    assert model.progress() is None
