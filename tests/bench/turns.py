"""What turn N of a long tool dialogue costs; prints one line of JSON.

Run it as ``python tests/bench/turns.py [--full] [--model FILE]``. Fifty turns of 16 new tokens in and 8 out
behind a head of 256, on one thread, in processor time: of arriero, of a bare decode loop that keeps the dialogue
in memory (the floor), of one that reads everything again, and of llama-cpp-python's class, which remembers one
dialogue too. ``holds`` is false when the tokens that were prefilled are not exactly the new ones, when the time to
the first token grows (the last five turns against turns 2 to 6) by more than 10 % over the floor's own growth, which
is what attention over a longer memory costs, when reading again is not slower, or when the class is quicker than
0.95 of it. ``ttft_growth_raw`` has the cost of attention in.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from peers import BareLoop, high_level
from random_model import SHAPES, write_random_model

from arriero.agent.backends import Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel

TURNS, HEAD, NEW, OUT, LENGTH = 50, 256, 16, 8, 2048
GREEDY = Sampling(temperature=0)
MOST_GROWTH, LEAST_OF_HIGH_LEVEL = 1.10, 0.95
REREAD = (2, 10, 25, 50)  # turns at which everything is read again


def main() -> int:
    """Hold the dialogue in four ways, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="a model of Llama 3.2 1B's shape; minutes")
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        shape, kind = ("1b", "q4_0") if options.full else ("small", "q8_0")
        path = options.model or write_random_model(Path(folder) / "model.gguf", SHAPES[shape], kind)
        figures = _hold(path, stack)
    holds = (
        figures["prefilled_per_new"] == 1.0
        and figures["ttft_growth_over_floor"] <= MOST_GROWTH
        and figures["reread_over_ours_50"] > 1
        and figures["high_level_over_ours"] >= LEAST_OF_HIGH_LEVEL
    )
    print(
        json.dumps(
            {"model": options.model.name if options.model else f"{shape} {kind}", **figures, "holds": holds}
        )
    )
    return 0 if holds else 1


def _hold(path: Path, stack: ExitStack) -> dict[str, float]:
    model = LlamaCppModel(path, n_ctx=LENGTH, n_threads=1)
    stack.callback(model.engine.close)
    runner = stack.enter_context(asyncio.Runner())
    floor, fresh = BareLoop(path, length=LENGTH), BareLoop(path, length=LENGTH)
    stack.callback(floor.close)
    stack.callback(fresh.close)
    llama = stack.enter_context(high_level(path, length=LENGTH))
    ours, peer = list(_head()), list(_head())
    runner.run(_turn(model, ours, 1))  # the first turn reads the head
    last = floor.read(_head())
    next(iter(llama.generate(peer, temp=0.0)))
    prefilled = model.stats.prefilled_tokens
    first: dict[str, list[float]] = {"arriero": [], "floor": [], "high_level": []}
    reread: dict[int, float] = {}
    for turn in range(1, TURNS + 1):
        new = [5000 + (turn * 131 + index * 17) % 90_000 for index in range(NEW)]
        ours += new
        first["arriero"].append(runner.run(_turn(model, ours, OUT)))
        took, last = _timed(partial(floor.read, [last, *new]))
        first["floor"].append(took)
        last = floor.write(last, OUT - 1)
        peer += new
        first["high_level"].append(_high_level_turn(llama, peer))
        if turn in REREAD:
            fresh.forget()
            reread[turn], _ = _timed(partial(fresh.read, ours[:-OUT]))
    flat = {
        name: statistics.median(times[-5:]) / statistics.median(times[1:6]) for name, times in first.items()
    }
    return {
        "prefilled_per_new": round((model.stats.prefilled_tokens - prefilled) / (TURNS * NEW), 4),
        "ttft_ms_turn_2": round(1e3 * statistics.median(first["arriero"][1:6]), 2),
        "ttft_ms_turn_50": round(1e3 * statistics.median(first["arriero"][-5:]), 2),
        "ttft_growth_raw": round(flat["arriero"], 3),
        "ttft_growth_over_floor": round(flat["arriero"] / flat["floor"], 3),
        "ours_over_floor": round(sum(first["arriero"]) / sum(first["floor"]), 3),
        "high_level_over_ours": round(sum(first["high_level"]) / sum(first["arriero"]), 3),
        **{
            f"reread_over_ours_{turn}": round(cost / first["arriero"][turn - 1], 2)
            for turn, cost in reread.items()
        },
    }


def _head() -> list[int]:
    return [1000 + index * 37 % 100_000 for index in range(HEAD)]


async def _turn(model: LlamaCppModel, transcript: list[int], count: int) -> float:
    """Generate, append to the transcript, and return the processor time to the first token.

    The first one is a request of its own: the engine would go on before this task has seen the token.
    """
    begun = time.process_time()
    transcript += [token.id async for token in model.generate(transcript, GREEDY, max_tokens=1)]
    first = time.process_time() - begun
    if count > 1:
        transcript += [token.id async for token in model.generate(transcript, GREEDY, max_tokens=count - 1)]
    return first


def _high_level_turn(llama: object, transcript: list[int]) -> float:
    begun, first = time.process_time(), 0.0
    new: list[int] = []
    for token in llama.generate(transcript, temp=0.0):  # type: ignore[attr-defined]
        first = first or time.process_time() - begun
        new.append(token)
        if len(new) == OUT:
            break
    transcript += new
    return first


def _timed(work: Callable[[], int]) -> tuple[float, int]:
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


if __name__ == "__main__":
    sys.exit(main())
