"""One conversation's speed against llama.cpp's own and llama-cpp-python's; prints one line of JSON.

Run it as ``python tests/bench/single_stream.py [--full] [--threads N] [--model FILE]``. The three take turns of 64
tokens in one process, so that whatever else the machine does meets all of them; processor time is compared with one
thread, wall time with more. Each ratio is the median of eight turns: those that end with 512, 2,048 and 4,096
tokens. ``over_schema`` is the class's time for a token under a JSON schema by arriero's; ``stop_ms_…`` is the most
processor time from a cancel to the end of the work, in a prompt of 4,096 tokens and in an answer. ``holds`` is false
when arriero is slower than 0.98 of a bare decode loop, when it does not beat the high-level class, with a schema or
without, when its lead over that one does not grow, or when stopping takes more than 150 ms.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers import BareLoop, high_level
from random_model import SHAPES, write_random_model

from arriero.agent.backends import Constraint, Sampling
from arriero.agent.backends.engine import Engine
from arriero.agent.backends.llama_cpp import LlamaCppModel

MARKS = (512, 2048, 4096)
SLICE, WINDOW = 64, 8
PROMPT = [1000 + index * 37 % 100_000 for index in range(64)]
GREEDY = Sampling(temperature=0)
SCHEMA = {"type": "array", "items": {"type": "integer"}, "minItems": 200}
REPEATS = 3
LEAST_OF_BARE, MOST_TO_STOP_MS = 0.98, 150.0


@dataclass
class Lane:
    """One of those compared: ``step`` writes the next ``SLICE`` tokens; ``spent`` is what each step took."""

    step: Callable[[], None]
    spent: list[float] = field(default_factory=list)

    def run(self, clock: Callable[[], float]) -> None:
        begun = clock()
        self.step()
        self.spent.append(clock() - begun)

    def window(self, mark: int) -> list[float]:
        """What the steps took that end with ``mark`` tokens."""
        last = mark // SLICE
        return self.spent[last - WINDOW : last]

    def over(self, other: "Lane", mark: int) -> float:
        """How much longer than the other one this one takes there."""
        return statistics.median(
            ours / theirs for ours, theirs in zip(self.window(mark), other.window(mark), strict=True)
        )


def main() -> int:
    """Write 4,096 tokens in three ways, print tokens per second and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="a model of Llama 3.2 1B's shape; minutes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shape, kind = ("1b", "q4_0") if options.full else ("tiny", "q8_0")
        path = options.model or write_random_model(Path(folder) / "model.gguf", SHAPES[shape], kind)
        figures = _measure(path, options.threads)
    over_bare, over_class = ([figures[f"over_{peer}_{mark}"] for mark in MARKS] for peer in ("bare", "class"))
    holds = (
        min(over_bare) >= LEAST_OF_BARE
        and over_class[0] > 1
        and over_class == sorted(over_class)
        and figures["over_schema"] > 1
        and max(figures["stop_ms_reading"], figures["stop_ms_writing"]) <= MOST_TO_STOP_MS
    )
    name = options.model.name if options.model else f"{shape} {kind}"
    print(json.dumps({"model": name, **figures, "threads": options.threads, "holds": holds}))
    return 0 if holds else 1


def _measure(path: Path, threads: int) -> dict[str, float]:
    clock = time.process_time if threads == 1 else time.perf_counter
    with ExitStack() as stack:
        bare = BareLoop(path, length=8192, threads=threads)
        stack.callback(bare.close)
        llama = stack.enter_context(high_level(path, length=8192, threads=threads))
        model = LlamaCppModel(path, n_ctx=8192, n_threads=threads)
        stack.callback(model.engine.close)
        runner = stack.enter_context(asyncio.Runner())
        ours, floor, peer = Lane(_arriero(model, runner)), Lane(_bare(bare)), Lane(_high_level(llama))
        order = itertools.cycle([(ours, floor, peer), (peer, floor, ours)])
        for _ in range(MARKS[-1] // SLICE):
            for lane in next(order):
                lane.run(clock)
        figures = {}
        for mark in MARKS:
            figures[f"tokens_per_second_{mark}"] = SLICE / statistics.median(ours.window(mark))
            figures[f"over_bare_{mark}"] = floor.over(ours, mark)
            figures[f"over_class_{mark}"] = peer.over(ours, mark)
        figures["over_schema"] = _with_schema(model, runner, llama, clock)
        figures["stop_ms_reading"] = 1e3 * _stopping(model.engine, range(4096), 1)
        figures["stop_ms_writing"] = 1e3 * _stopping(model.engine, range(8), 8)
    return {name: round(value, 3) for name, value in figures.items()}


def _arriero(model: LlamaCppModel, runner: asyncio.Runner) -> Callable[[], None]:
    transcript = list(PROMPT)

    async def write(count: int) -> None:
        new = [token.id async for token in model.generate(transcript, GREEDY, max_tokens=count)]
        assert len(new) == count
        transcript.extend(new)

    runner.run(write(1))
    return lambda: runner.run(write(SLICE))


def _bare(loop: BareLoop) -> Callable[[], None]:
    last = [loop.read(PROMPT)]

    def step() -> None:
        last[0] = loop.write(last[0], SLICE)

    return step


def _high_level(llama: Any) -> Callable[[], None]:
    pieces: Iterator[object] = llama.create_completion(
        PROMPT, max_tokens=MARKS[-1] + 1, temperature=0, stream=True
    )
    next(pieces)

    def step() -> None:
        assert sum(1 for _ in itertools.islice(pieces, SLICE)) == SLICE

    return step


def _with_schema(
    model: LlamaCppModel, runner: asyncio.Runner, llama: Any, clock: Callable[[], float]
) -> float:
    """The class's time for a token of an answer with a schema ÷ arriero's; the median of several answers."""
    import llama_cpp

    constraint = Constraint(answer=SCHEMA)

    async def write() -> int:
        stream = model.generate(PROMPT, GREEDY, max_tokens=SLICE, constraint=constraint)
        return len([token async for token in stream])

    def write_there() -> int:
        grammar = llama_cpp.LlamaGrammar.from_json_schema(json.dumps(SCHEMA), verbose=False)
        return sum(1 for _ in itertools.islice(llama.generate(PROMPT, temp=0.0, grammar=grammar), SLICE))

    def timed(answer: Callable[[], int]) -> float:
        begun = clock()
        written = answer()
        return (clock() - begun) / written

    runner.run(write())  # the first one compiles the grammar
    write_there()
    return statistics.median(timed(write_there) / timed(lambda: runner.run(write())) for _ in range(REPEATS))


def _stopping(engine: Engine, prompt: range, decodes: int) -> float:
    """Processor time from a cancel, some decodes into a prompt or an answer, until nothing is computed; the most."""
    taken = []
    for repeat in range(REPEATS):
        before = engine.stats.decodes
        generation = engine.submit([repeat, *prompt], GREEDY, lambda _: None)
        while engine.stats.decodes < before + decodes:
            time.sleep(0.001)
        begun = time.process_time()
        engine.cancel(generation)
        while not engine.idle:
            time.sleep(0.001)
        taken.append(time.process_time() - begun)
    return max(taken)


if __name__ == "__main__":
    sys.exit(main())
