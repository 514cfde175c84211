"""What turn N of a long tool dialogue costs; prints one line of JSON.

Run it as ``python tests/bench/turns.py [--full] [--model FILE]``. Fifty turns of 16 new tokens in and 8 out behind a
head of 256, on one thread, in processor time: of arriero, of a bare decode loop that keeps the dialogue in memory
(the floor), of one that reads everything again, and of llama-cpp-python's class, which remembers one dialogue too.

A new token looks at all that are in memory, so that the time to the first token grows with any program: by a third
in a model of 174 million weights. What is ours of it must stay flat: ``own_…`` is the time to the first token less
what llama.cpp's decode takes of it, in a model so small that neither disturbs the other, for each turn the least of
several dialogues. Turn 2 and turn 50 are medians of ten turns at either end. ``ttft_growth_over_floor`` is the growth
of arriero's time by the floor's, turn by turn; ``ttft_growth_raw`` and ``floor_growth_raw`` have the looking back in,
and ``raw_holds`` says whether arriero's is at most 1.10 even so. ``holds`` is false when
the tokens that were prefilled are not exactly the new ones, when what is ours grows by more than 2 % of the time to
the first token, when ``ttft_growth_over_floor`` is more than 1.10, when reading again is not slower, or when the
class is quicker than 0.95 of arriero.
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
from typing import Any

from peers import BareLoop, high_level
from random_model import SHAPES, Shape, write_random_model

from arriero.agent.backends import Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel

TURNS, HEAD, NEW, OUT, LENGTH = 50, 256, 16, 8, 2048
GREEDY = Sampling(temperature=0)
MOST_GROWTH, MOST_OWN_GROWTH, LEAST_OF_HIGH_LEVEL = 1.10, 0.02, 0.95
END = 10  # turns at either end of the dialogue
SMALLEST, DIALOGUES = Shape(64, 1, 1, 1, 64, 128), 8
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
        smallest = write_random_model(Path(folder) / "smallest.gguf", SMALLEST)
        early, late = _own(smallest)
        figures = _hold(path, stack)
    figures |= {
        "own_ms_turn_2": round(1e3 * early, 3),
        "own_ms_turn_50": round(1e3 * late, 3),
        "own_growth_of_ttft": round(1e3 * (late - early) / figures["ttft_ms_turn_2"], 4),
    }
    holds = (
        figures["prefilled_per_new"] == 1.0
        and figures["own_growth_of_ttft"] <= MOST_OWN_GROWTH
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


class Meter:
    """Sums the processor time that the engine's thread spends in llama.cpp's decode."""

    def __init__(self, context: Any) -> None:
        self.spent = 0.0
        self._decode = context.decode
        context.decode = self

    def __call__(self) -> int:
        begun = time.thread_time()
        code: int = self._decode()
        self.spent += time.thread_time() - begun
        return code


def _own(path: Path) -> tuple[float, float]:
    """What turn 2 and turn 50 take until their first token beside the decode."""
    model = LlamaCppModel(path, n_ctx=LENGTH, n_threads=1)
    meter = Meter(model.engine._memory.context)
    with asyncio.Runner() as runner:
        dialogues = [_dialogue(model, runner, meter, number) for number in range(DIALOGUES)]
    model.engine.close()
    least = [min(times) for times in zip(*dialogues, strict=True)]
    return _ends(least)


def _dialogue(model: LlamaCppModel, runner: asyncio.Runner, meter: Meter, number: int) -> list[float]:
    transcript = [number, *_head()]
    runner.run(_turn(model, transcript, 1))
    own = []
    for turn in range(1, TURNS + 1):
        transcript += _new(turn)
        decoding = meter.spent
        taken = runner.run(_turn(model, transcript, 1))
        own.append(taken - (meter.spent - decoding))
        runner.run(_turn(model, transcript, OUT - 1))
    return own


def _ends(times: list[float]) -> tuple[float, float]:
    """Turn 2 and turn 50."""
    return statistics.median(times[1 : 1 + END]), statistics.median(times[-END:])


def _growth(times: list[float]) -> float:
    early, late = _ends(times)
    return late / early


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
        new = _new(turn)
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
    over_floor = [ours / floor for ours, floor in zip(first["arriero"], first["floor"], strict=True)]
    return {
        "prefilled_per_new": round((model.stats.prefilled_tokens - prefilled) / (TURNS * NEW), 4),
        "ttft_ms_turn_2": round(1e3 * _ends(first["arriero"])[0], 2),
        "ttft_ms_turn_50": round(1e3 * _ends(first["arriero"])[1], 2),
        "ttft_growth_raw": round(_growth(first["arriero"]), 3),
        "floor_growth_raw": round(_growth(first["floor"]), 3),
        "raw_holds": _growth(first["arriero"]) <= MOST_GROWTH,
        "ttft_growth_over_floor": round(_growth(over_floor), 3),
        "ours_over_floor": round(statistics.median(over_floor), 3),
        "high_level_over_ours": round(
            statistics.median(
                peer / ours for peer, ours in zip(first["high_level"], first["arriero"], strict=True)
            ),
            3,
        ),
        **{
            f"reread_over_ours_{turn}": round(cost / first["arriero"][turn - 1], 2)
            for turn, cost in reread.items()
        },
    }


def _head() -> list[int]:
    return [1000 + index * 37 % 100_000 for index in range(HEAD)]


def _new(turn: int) -> list[int]:
    return [5000 + (turn * 131 + index * 17) % 90_000 for index in range(NEW)]


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
