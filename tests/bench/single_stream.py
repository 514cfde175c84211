"""One conversation's speed against llama.cpp's own and llama-cpp-python's; prints one line of JSON.

Run it as ``python tests/bench/single_stream.py [--full] [--threads N] [--model FILE]``. The three take turns
of 64 tokens in one process, so that whatever else the machine does meets all of them; processor time is
compared with one thread, wall time with more. ``holds`` is false when arriero is slower than 0.98 of a bare
decode loop at 512, 2,048 or 4,096 tokens, when it does not beat the high-level class, or when its lead over
that one does not grow.
"""

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from peers import BareLoop, high_level
from random_model import SHAPES, write_random_model

from arriero.agent.backends import Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel

MARKS = (512, 2048, 4096)
SLICE = 64
PROMPT = [1000 + index * 37 % 100_000 for index in range(64)]
LEAST_OF_BARE = 0.98


@dataclass
class Lane:
    """One of those compared: ``step`` writes the next ``SLICE`` tokens."""

    step: Callable[[], None]
    spent: float = 0.0
    at: dict[int, float] = field(default_factory=dict)

    def run(self, clock: Callable[[], float], written: int) -> None:
        begun = clock()
        self.step()
        self.spent += clock() - begun
        if written in MARKS:
            self.at[written] = self.spent


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
        lanes = _compare(path, options.threads)
    figures: dict[str, object] = {"model": options.model.name if options.model else f"{shape} {kind}"}
    for mark in MARKS:
        figures[f"tokens_per_second_{mark}"] = round(mark / lanes["arriero"].at[mark], 1)
        for peer in ("bare", "high_level"):
            ratio = lanes[peer].at[mark] / lanes["arriero"].at[mark]
            figures[f"over_{peer}_{mark}"] = round(ratio, 3)
    over_peer = [lanes["high_level"].at[mark] / lanes["arriero"].at[mark] for mark in MARKS]
    holds = (
        all(lanes["bare"].at[mark] / lanes["arriero"].at[mark] >= LEAST_OF_BARE for mark in MARKS)
        and over_peer[0] > 1
        and over_peer == sorted(over_peer)
    )
    print(json.dumps({**figures, "threads": options.threads, "holds": holds}))
    return 0 if holds else 1


def _compare(path: Path, threads: int) -> dict[str, Lane]:
    clock = time.process_time if threads == 1 else time.perf_counter
    with ExitStack() as stack:
        bare = BareLoop(path, length=8192, threads=threads)
        stack.callback(bare.close)
        llama = stack.enter_context(high_level(path, length=8192, threads=threads))
        model = LlamaCppModel(path, n_ctx=8192, n_threads=threads)
        stack.callback(model.engine.close)
        runner = stack.enter_context(asyncio.Runner())
        lanes = {
            "arriero": Lane(_arriero(model, runner)),
            "bare": Lane(_bare(bare)),
            "high_level": Lane(_high_level(llama)),
        }
        order = itertools.cycle([list(lanes.values()), list(lanes.values())[::-1]])
        for written in range(SLICE, MARKS[-1] + 1, SLICE):
            for lane in next(order):
                lane.run(clock, written)
    return lanes


def _arriero(model: LlamaCppModel, runner: asyncio.Runner) -> Callable[[], None]:
    transcript = list(PROMPT)

    async def write(count: int) -> None:
        new = [
            token.id async for token in model.generate(transcript, Sampling(temperature=0), max_tokens=count)
        ]
        assert len(new) == count
        transcript.extend(new)

    runner.run(write(1))
    return lambda: runner.run(write(SLICE))


def _bare(loop: BareLoop) -> Callable[[], None]:
    last = [loop.read(PROMPT)]

    def step() -> None:
        last[0] = loop.write(last[0], SLICE)

    return step


def _high_level(llama: object) -> Callable[[], None]:
    pieces: Iterator[object] = llama.create_completion(  # type: ignore[attr-defined]
        PROMPT, max_tokens=MARKS[-1] + 1, temperature=0, stream=True
    )
    next(pieces)

    def step() -> None:
        assert sum(1 for _ in itertools.islice(pieces, SLICE)) == SLICE

    return step


if __name__ == "__main__":
    sys.exit(main())
