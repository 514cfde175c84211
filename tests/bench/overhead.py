"""What a step of the loop costs beside the model, with the journal on; prints one line of JSON.

Run it as ``python tests/bench/overhead.py [STEPS]`` (1,000 by default). The model is a stand-in that costs next to
nothing, the tool answers with 200 characters. Times are processor time of the whole process, so the journal's thread
is in them. ``holds`` is false when a step takes over 100 µs, when the last tenth of the steps costs over 1.3 times
the first, when a streamed token takes over 3 µs, when importing and the first call take over 0.15 s, when the
journal grows by over 6 KiB a step, or when memory grows by over 20 KiB a step. ``floor_us`` is a bare loop that
does the same without a framework, in the same run: on a busy machine the ratio says more than the times.
"""

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from arriero.agent import Agent, Limits
from arriero.agent.backends import Sampling, Token
from arriero.agent.events import TextDelta
from arriero.prompts import Segment
from arriero.tools import tool

MOST_STEP_US = 100.0
MOST_GROWTH = 1.3
MOST_TOKEN_US = 3.0
MOST_IMPORT_S = 0.15
MOST_DISK_BYTES = 6 * 1024
MOST_MEMORY_BYTES = 20 * 1024
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

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        return [1] * (12 * len(segments))

    async def generate(
        self, tokens: Sequence[int], sampling: Sampling, **_: Any
    ) -> AsyncGenerator[Token, None]:
        self.asked += 1
        # Reading the clock is a slow call on some machines: once every tenth of the steps.
        if self.steps and (self.asked - 1) % (self.steps // 10) == 0:
            self.clock.append(time.process_time())
        if self.asked <= self.steps:
            yield Token(1, f'{{"name": "look", "parameters": {{"x": {self.asked}}}}}')
            yield Token(2, "<|eom_id|>", "eom")
            return
        for number in range(self.tokens):
            yield Token(number, "word ")
        yield Token(3, "<|eot_id|>", "eot")

    async def aclose(self) -> None:
        """Nothing to free."""


@tool(effect="read")
async def look(x: int) -> str:
    """Look."""
    return "y" * 200 + str(x)


def main() -> int:
    """Measure and print."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory() as folder:
        measured = {**_steps(steps, Path(folder)), "token_us": _token_us(), "first_call_s": _first_call_s()}
    holds = (
        measured["step_us"] <= MOST_STEP_US
        and measured["growth"] <= MOST_GROWTH
        and measured["token_us"] <= MOST_TOKEN_US
        and measured["first_call_s"] <= MOST_IMPORT_S
        and measured["disk_bytes_a_step"] <= MOST_DISK_BYTES
        and measured["memory_bytes_a_step"] <= MOST_MEMORY_BYTES
    )
    print(json.dumps({**{name: round(value, 3) for name, value in measured.items()}, "holds": holds}))
    return 0 if holds else 1


def _steps(steps: int, folder: Path) -> dict[str, float]:
    _run(Quick(20), folder / "warm.db")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = Quick(steps)
    _run(model, folder / "journal.db")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    tenths = [(b - a) / (steps // 10) * 1e6 for a, b in zip(model.clock, model.clock[1:], strict=False)]
    bare = Quick(steps)
    _run(bare, None)
    without = [(b - a) / (steps // 10) * 1e6 for a, b in zip(bare.clock, bare.clock[1:], strict=False)]
    floor = _floor_us(steps)
    return {
        "steps": float(steps),
        "step_us": statistics.median(tenths),
        "step_without_journal_us": statistics.median(without),
        "growth": statistics.median(tenths[-3:]) / statistics.median(tenths[:3]),
        "floor_us": floor,
        "times_the_floor": statistics.median(tenths) / floor,
        "disk_bytes_a_step": sum(file.stat().st_size for file in folder.glob("journal.db*") if file.is_file())
        / steps,
        "memory_bytes_a_step": grown * 1024 / steps,
    }


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
    times = [
        float(subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout)
        for _ in range(3)
    ]
    return min(times)


if __name__ == "__main__":
    sys.exit(main())
