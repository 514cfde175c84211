"""What screens cost where nothing is found; prints one line of JSON.

Run it as ``python tests/bench/screens.py [--full]``. A guard of a real model's shape with random weights reads its
categories (400 tokens) and the text and writes three tokens, then lets everything pass; a chat model of the same
kind reads a prompt of 400 tokens and writes 120. Each figure is the best of several runs, on and off in turns.

``overlapped_over_sequential`` is the time to the first shown text with a screened input, by the time that the check
and the same run without screens take one after the other; ``output_…`` the same of a whole answer that is screened
in windows. ``added_ms`` is what each place adds. ``patterns_…`` are processor time of the preset that needs no
model, scripted, for a step with a call and for a streamed token of four characters, beside what the loop itself
takes. ``holds`` is false when overlapping gains less than a tenth, or where the preset costs more than 300 us a
step, or thrice as much as the loop for a token.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

from random_model import SHAPES, write_random_model

from arriero.agent import Agent, Limits
from arriero.agent.backends import Model, Sampling, ScriptedModel
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.events import TextDelta
from arriero.prompts import Segment
from arriero.safety.base import ALLOW, Place, ScreenInput, Verdict
from arriero.safety.policy import Policy
from arriero.tools import tool

CATEGORIES, PROMPT, ANSWER = 400, 400, 120  # tokens
GREEDY = Sampling(temperature=0)
MOST_OVERLAPPED = 0.9
MOST_STEP_US, MOST_BY_TOKEN = 300.0, 3.0


class Guard:
    """Does a guard's work, and finds nothing."""

    name = "guard"

    def __init__(self, model: LlamaCppModel) -> None:
        self._model = model
        self._head = [1000 + index for index in range(CATEGORIES)]
        self.seconds = 0.0

    async def check(self, given: ScreenInput) -> Verdict:
        """Read the text behind the categories and write three tokens."""
        started = time.perf_counter()
        tokens = [*self._head, *self._model.tokenize([Segment(given.text + "?")])]
        async with aclosing(self._model.generate(tokens, GREEDY, max_tokens=3)) as verdict:
            async for _ in verdict:
                pass
        self.seconds += time.perf_counter() - started
        return ALLOW


def main() -> int:
    """Measure every place, print what it costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="models of Llama 3.2 1B's size; minutes")
    options = parser.parse_args()
    shape, repeats = (SHAPES["1b"], 3) if options.full else (SHAPES["small"], 2)
    with tempfile.TemporaryDirectory() as name:
        path = write_random_model(Path(name) / "model.gguf", shape)
        figures = asyncio.run(_measure(path, repeats))
    figures |= asyncio.run(_patterns())
    holds = (
        figures["overlapped_over_sequential"] <= MOST_OVERLAPPED
        and figures["output_overlapped_over_sequential"] <= MOST_OVERLAPPED
        and figures["patterns_us_a_step"] <= MOST_STEP_US
        and figures["patterns_us_a_token"] <= MOST_BY_TOKEN * figures["loop_us_a_token"]
    )
    print(json.dumps({"guard": "1b" if options.full else "small", **figures, "holds": holds}))
    return 0 if holds else 1


async def _measure(path: Path, repeats: int) -> dict[str, float]:
    chat = LlamaCppModel(path, n_ctx=4096, n_threads=1)
    guard = Guard(LlamaCppModel(path, n_ctx=4096, n_threads=1))
    await guard.check(ScreenInput("input", "warm"))
    figures: dict[str, float] = {}
    await _converse(chat, Policy.preset("off"), "warm", 2)

    off, on, alone = [], [], []
    for number in range(repeats):
        for policy, times in ((Policy.preset("off"), off), (_policy(guard, "input"), on)):
            guard.seconds = 0.0
            times.append((await _converse(chat, policy, _prompt(2 * number + (times is on)), 2))[0])
        alone.append(guard.seconds)
    figures["first_text_ms_off"] = _ms(off)
    figures["first_text_ms_screened"] = _ms(on)
    figures["input_check_ms"] = _ms(alone)
    figures["input_added_ms"] = round(_ms(on) - _ms(off), 1)
    figures["overlapped_over_sequential"] = round(min(on) / (min(off) + min(alone)), 3)

    off, on, alone, first = [], [], [], []
    for number in range(repeats):
        for policy, times in ((Policy.preset("off"), off), (_policy(guard, "output"), on)):
            guard.seconds = 0.0
            shown, whole = await _converse(chat, policy, f"write {number}", ANSWER)
            times.append(whole)
            if times is on:
                first.append(shown)
        alone.append(guard.seconds)
    figures["output_ms_off"] = _ms(off)
    figures["output_ms_screened"] = _ms(on)
    figures["output_checks_ms"] = _ms(alone)
    figures["output_first_text_ms_screened"] = _ms(first)
    figures["output_added_ms"] = round(_ms(on) - _ms(off), 1)
    figures["output_overlapped_over_sequential"] = round(min(on) / (min(off) + min(alone)), 3)

    places: tuple[Place, ...] = ("tool_call", "tool_result")
    for place in places:
        figures[f"{place}_added_ms"] = await _added_by_call(_policy(guard, place), repeats)
    await chat.aclose()
    return figures


async def _converse(model: Model, policy: Policy, prompt: str, tokens: int) -> tuple[float, float]:
    """Seconds until the first text is shown, and until the end."""
    agent = Agent(model, instructions="", guards=policy, sampling=GREEDY, limits=Limits(max_tokens=tokens))
    started = time.perf_counter()
    first = 0.0
    async with aclosing(agent.stream(prompt)) as events:
        async for event in events:
            if isinstance(event, TextDelta) and not first:
                first = time.perf_counter() - started
    whole = time.perf_counter() - started
    return first or whole, whole


async def _added_by_call(policy: Policy, repeats: int) -> float:
    """Milliseconds that a policy adds to a run with one call."""

    async def once(guards: Policy) -> float:
        started = time.perf_counter()
        await _call(guards)
        return time.perf_counter() - started

    pairs = [(await once(Policy.preset("off")), await once(policy)) for _ in range(repeats)]
    return round(_ms([on for _, on in pairs]) - _ms([off for off, _ in pairs]), 1)


async def _call(guards: Policy, calls: int = 1) -> None:
    @tool(effect="read")
    def look(text: str) -> str:
        """Look."""
        return "a result of a few words"

    said = [f'{{"name": "look", "parameters": {{"text": "some words {n}"}}}}<|eom_id|>' for n in range(calls)]
    limits = Limits(max_steps=None)
    await Agent(ScriptedModel([*said, "Done.<|eot_id|>"]), tools=[look], guards=guards, limits=limits).run(
        "hello"
    )


async def _patterns() -> dict[str, float]:
    """Processor time that the preset without a model adds, in microseconds."""
    calls, words = 300, 5000

    async def stream(guards: Policy) -> None:
        await Agent(ScriptedModel(["word " * words + "<|eot_id|>"]), guards=guards).run("hello")

    step, loop_step = await _cpu(lambda guards: _call(guards, calls))
    token, loop_token = await _cpu(stream)
    return {
        "patterns_us_a_step": round(1e6 * step / calls, 1),
        "loop_us_a_step": round(1e6 * loop_step / calls, 1),
        "patterns_us_a_token": round(1e6 * token / (words * 5 / 4), 2),
        "loop_us_a_token": round(1e6 * loop_token / (words * 5 / 4), 2),
    }


async def _cpu(run: Callable[[Policy], Awaitable[None]]) -> tuple[float, float]:
    """Processor time that the preset adds, and that it is added to."""
    best = {"off": float("inf"), "default": float("inf")}
    for _ in range(5):
        for name in best:
            started = time.process_time()
            await run(Policy.preset(name))
            best[name] = min(best[name], time.process_time() - started)
    return best["default"] - best["off"], best["off"]


def _policy(guard: Guard, place: Place) -> Policy:
    return Policy.preset("off").with_screen("guard", guard, place)


def _prompt(number: int) -> str:
    """About PROMPT tokens that no other prompt begins with."""
    return f"{number} " + "".join(chr(97 + (number * 7 + index * index) % 26) for index in range(PROMPT))


def _ms(times: list[float]) -> float:
    return round(1e3 * min(times), 1)


if __name__ == "__main__":
    sys.exit(main())
