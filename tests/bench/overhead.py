"""What a step of the loop costs beside the model, with the journal on; prints one line of JSON.

Run it as ``python tests/bench/overhead.py [STEPS]`` (1,000 by default). The model is a stand-in that costs next to
nothing, the tool answers with 200 characters. Times are processor time of the whole process, so the journal's thread
is in them; each is the best of seven rounds, since other work on a machine only ever makes them longer.

The goals are times on a machine whose bare loop of JSON, a dictionary and two lists takes 3 µs a step: a step 100
µs, a streamed token 3 µs, from import to the first call 0.15 s. That loop (``hand_us``) runs before and behind each
measurement, and ``…_scaled`` is the time as it would be there, the median of the rounds' ratios. ``holds`` is false
when a scaled time is over its goal, when the last steps cost over 1.3 times the first, when the journal grows by
over 6 KiB a step, or memory by over 20 KiB. ``raw_holds`` is the same with the times as they are here.
``floor_us`` is a loop without a framework that awaits the same model and runs the same tool.
"""

import asyncio
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

from bare_loop import HAND_US, hand_us

from arriero.agent import Agent, Limits
from arriero.agent.backends import Sampling, Token
from arriero.agent.events import TextDelta
from arriero.prompts import Segment
from arriero.tools import tool

GOALS = {"step_us": 100.0, "token_us": 3.0, "first_call_s": 0.15}
MOST_GROWTH = 1.3
MOST_DISK_BYTES = 6 * 1024
MOST_MEMORY_BYTES = 20 * 1024
ROUNDS = 7
TOKENS = 20_000

FIRST_CALL = """
import time; start = time.process_time()
from arriero import Agent, ScriptedModel
Agent(ScriptedModel(["Hi.<|eot_id|>"])).run_sync("Hello")
print(time.process_time() - start)
"""


class Quick:
    """A model that calls ``look`` at every step, or writes many tokens; it notes the clock as it is asked."""

    name, dialect, context_length, constrains = "quick", "llama3.1", 10**9, False

    def __init__(self, steps: int, tokens: int = 0) -> None:
        self.steps, self.tokens, self.asked = steps, tokens, 0
        self.clock: list[float] = []
        self.memory: list[int] = []

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        return [1] * (12 * len(segments))

    async def generate(
        self, tokens: Sequence[int], sampling: Sampling, **_: Any
    ) -> AsyncGenerator[Token, None]:
        self.asked += 1
        # Reading the clock is a slow call on some machines: once every tenth of the steps.
        if self.steps and (self.asked - 1) % (self.steps // 10) == 0:
            self.clock.append(time.process_time())
            self.memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        if self.asked <= self.steps:
            yield Token(1, f'{{"name": "look", "parameters": {{"x": {self.asked}}}}}')
            yield Token(2, "<|eom_id|>", "eom")
            return
        for number in range(self.tokens):
            yield Token(number, "word ")
        yield Token(3, "<|eot_id|>", "eot")

    async def aclose(self) -> None:
        """Nothing to free."""

    @property
    def tenths(self) -> list[float]:
        """Microseconds a step, of each tenth of the steps."""
        return [(b - a) / (self.steps // 10) * 1e6 for a, b in itertools.pairwise(self.clock)]


@tool(effect="read")
async def look(x: int) -> str:
    """Look."""
    return "y" * 200 + str(x)


def main() -> int:
    """Measure and print."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory() as folder:
        measured = _measure(steps, Path(folder))
    sizes = (
        measured["growth"] <= MOST_GROWTH
        and measured["disk_bytes_a_step"] <= MOST_DISK_BYTES
        and measured["memory_bytes_a_step"] <= MOST_MEMORY_BYTES
    )
    holds = sizes and all(measured[f"{name}_scaled"] <= goal for name, goal in GOALS.items())
    raw = sizes and all(measured[name] <= goal for name, goal in GOALS.items())
    figures = {name: round(value, 3) for name, value in measured.items()}
    print(json.dumps({**figures, "raw_holds": raw, "holds": holds}))
    return 0 if holds else 1


def _measure(steps: int, folder: Path) -> dict[str, float]:
    _run(Quick(20), folder / "warm.db")
    tenths: list[list[float]] = []
    grown: list[int] = []

    def step_us() -> float:
        model = Quick(steps)
        _run(model, folder / f"journal{len(tenths)}.db")
        # Of the second half: before that, the journal's own memory is taken, once.
        grown.append(model.memory[-1] - model.memory[len(model.memory) // 2])
        tenths.append(model.tenths)
        return statistics.median(model.tenths)

    def step_without_journal_us() -> float:
        model = Quick(steps)
        _run(model, None)
        return statistics.median(model.tenths)

    measured = {"steps": float(steps)}
    for measure in (step_us, step_without_journal_us, _token_us, _first_call_s):
        name = measure.__name__.removeprefix("_")
        measured[name], measured[f"{name}_scaled"], hand = _in_rounds(measure)
        measured["hand_us"] = min(hand, measured.get("hand_us", hand))
    growth = [statistics.median(one[-3:]) / statistics.median(one[:3]) for one in tenths]
    size = sum(file.stat().st_size for file in folder.glob("journal0.db*"))
    floor_us = min(_floor_us(steps) for _ in range(ROUNDS))
    return measured | {
        "growth": statistics.median(growth),
        "floor_us": floor_us,
        "times_the_floor": measured["step_us"] / floor_us,
        "disk_bytes_a_step": size / steps,
        "memory_bytes_a_step": 2 * grown[0] / steps,
    }


def _in_rounds(measure: Callable[[], float]) -> tuple[float, float, float]:
    """The best time, the scaled one, and the best of the bare loop beside it."""
    times, hands = [], [hand_us()]
    for _ in range(ROUNDS):
        times.append(measure())
        hands.append(hand_us())
    beside = [(before + behind) / 2 for before, behind in itertools.pairwise(hands)]
    ratios = [one / hand for one, hand in zip(times, beside, strict=True)]
    return min(times), statistics.median(ratios) * HAND_US, min(hands)


def _run(model: Quick, journal: Path | None) -> None:
    limits = Limits(max_steps=None)
    agent = Agent(model, tools=[look], limits=limits, guards=None, journal=journal)  # type: ignore[arg-type]
    with agent:
        assert agent.run_sync("Go").stop_reason == "final"


def _floor_us(steps: int) -> float:
    """A loop without a framework: parse the call, run the tool, append to a list."""

    async def loop() -> float:
        model, messages, tokens = Quick(steps), [], [0]
        start = time.process_time()
        while True:
            text = "".join([token.text async for token in model.generate(tokens, Sampling())])
            messages.append({"role": "assistant", "content": text})
            if "eom" not in text:
                return (time.process_time() - start) / steps * 1e6
            call = json.loads(text.removesuffix("<|eom_id|>"))
            answer = "y" * 200 + str(call["parameters"]["x"])
            messages.append({"role": "ipython", "content": answer})
            tokens += model.tokenize([Segment(answer)])

    return asyncio.run(loop())


def _token_us() -> float:
    async def stream(tokens: int) -> float:
        agent = Agent(Quick(0, tokens), guards=None)  # type: ignore[arg-type]
        start = time.process_time()
        seen = sum([isinstance(event, TextDelta) async for event in agent.stream("Go")])
        assert seen >= tokens
        return time.process_time() - start

    return (asyncio.run(stream(TOKENS)) - asyncio.run(stream(1))) / TOKENS * 1e6


def _first_call_s() -> float:
    environment = {**os.environ, "ARRIERO_HOME": tempfile.gettempdir()}
    run = [sys.executable, "-c", FIRST_CALL]
    return float(subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout)


if __name__ == "__main__":
    sys.exit(main())
