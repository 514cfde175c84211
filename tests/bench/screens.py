"""What screens cost where nothing is found; prints one line of JSON.

Run it as ``python tests/bench/screens.py [--full]``. A guard of a real model's shape with random weights reads its
categories (400 tokens) and the text and writes three tokens, then lets everything pass; a chat model of the same
kind reads a prompt of 300 tokens and writes 90. One guard judges input and output, and two, as in the preset
``strict``, the call, the code and the result of a scripted model. Each figure is the best of several runs, with
screens and without in turns; every text is new to every model.

By place: milliseconds ``off`` and ``screened`` (for input until the first text is shown, else of the whole run), of
the ``checks`` alone, what the screens ``added``, and ``overlapped_over_sequential``: screened by the run without
screens and all its checks one after the other. ``patterns`` is processor time of the preset that needs no model,
scripted, for a step with a call and for a streamed token of four characters, beside what the loop itself takes.
``prompt_guard`` is ``prompt_guard.py``. ``holds`` is false when overlapping gains less than a tenth over all places
(on two cores or more) or loses a twentieth at one; where the preset costs more than 300 us a step on a machine whose
bare loop takes 3 us (``bare_loop.py``, which runs beside it: ``us_a_step_scaled``), or four times as much as the
loop for a token; and where Prompt Guard is slower than the reference. Two guards that read a long result gain little
on two cores: each of them can use both.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import prompt_guard
from bare_loop import HAND_US, hand_us
from random_model import SHAPES, write_random_model

from arriero.agent import Agent, Limits
from arriero.agent.backends import Model, Sampling, ScriptedModel
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.events import TextDelta
from arriero.prompts import Segment
from arriero.safety.base import ALLOW, PLACES, Place, ScreenInput, Verdict
from arriero.safety.policy import Policy
from arriero.tools import tool

CATEGORIES, PROMPT, ANSWER = 400, 300, 90  # tokens
GREEDY, OFF = Sampling(temperature=0), Policy.preset("off")
MOST_OVERLAPPED, MOST_AT_ONE = 0.9, 1.05
MOST_STEP_US, MOST_BY_TOKEN = 300.0, 4.0


class Guard:
    """Does a guard's work, and finds nothing."""

    def __init__(self, name: str, model: LlamaCppModel) -> None:
        self.name = name
        self._model = model
        self._head = [1000 + index for index in range(CATEGORIES)]
        self.given: list[str] = []

    async def check(self, given: ScreenInput) -> Verdict:
        """Read the text behind the categories and write three tokens."""
        self.given.append(given.text)
        await self._read(given.text)
        return ALLOW

    async def again(self) -> float:
        """Seconds that all checks since the last time take by themselves, of texts that differ in one letter."""
        texts, self.given = self.given, []
        started = time.perf_counter()
        for text in texts:
            await self._read(f"~{text[1:]}")
        return time.perf_counter() - started

    async def _read(self, text: str) -> None:
        tokens = [*self._head, *self._model.tokenize([Segment(text + "?")])]
        async with aclosing(self._model.generate(tokens, GREEDY, max_tokens=3)) as verdict:
            async for _ in verdict:
                pass


def main() -> int:
    """Measure every place, print what it costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="models of Llama 3.2 1B's size; minutes")
    full = parser.parse_args().full
    with tempfile.TemporaryDirectory() as name:
        path = write_random_model(Path(name) / "model.gguf", SHAPES["1b" if full else "small"])
        places = asyncio.run(_places(path, repeats=3))
    patterns = asyncio.run(_patterns())
    classifier = prompt_guard.measure(full=full)
    cores = len(os.sched_getaffinity(0))
    screened = sum(figures["screened"] for figures in places.values())
    sequential = sum(figures["off"] + figures["checks"] for figures in places.values())
    worst = max(figures["overlapped_over_sequential"] for figures in places.values())
    holds = (
        (cores < 2 or (screened <= MOST_OVERLAPPED * sequential and worst <= MOST_AT_ONE))
        and patterns["us_a_step_scaled"] <= MOST_STEP_US
        and patterns["us_a_token"] <= MOST_BY_TOKEN * patterns["loop_us_a_token"]
        and classifier["holds"]
    )
    guard = "1b" if full else "small"
    print(
        json.dumps(
            {"guard": guard, "cores": cores, "overlapped": round(screened / sequential, 3), **places}
            | {"patterns": patterns, "prompt_guard": classifier}
            | {"holds": holds}
        )
    )
    return 0 if holds else 1


async def _places(path: Path, repeats: int) -> dict[str, dict[str, float]]:
    chat = LlamaCppModel(path, n_ctx=4096, n_threads=1)
    guards = [Guard(name, LlamaCppModel(path, n_ctx=4096, n_threads=1)) for name in ("one", "two")]
    for guard in guards:
        await guard.check(ScreenInput("input", "warm"))
        await guard.again()
    await _converse(chat, OFF, "warm", 2)
    figures = {}
    for place in PLACES:
        asked = guards[:1] if place in ("input", "output") else guards
        figures[place] = await _place(place, asked, partial(_run, chat, place), repeats)
    await chat.aclose()
    return figures


async def _place(
    place: Place, guards: list[Guard], run: Callable[[Policy, int], Awaitable[float]], repeats: int
) -> dict[str, float]:
    screened = OFF
    for guard in guards:
        screened = screened.with_screen(guard.name, guard, place)
    off, on, alone = [], [], []
    for number in range(repeats):
        off.append(await run(OFF, 2 * number))
        on.append(await run(screened, 2 * number + 1))
        alone.append(sum([await guard.again() for guard in guards]))
    return {
        "off": _ms(off),
        "screened": _ms(on),
        "checks": _ms(alone),
        "added": round(_ms(on) - _ms(off), 1),
        "overlapped_over_sequential": round(min(on) / (min(off) + min(alone)), 3),
    }


async def _run(chat: Model, place: Place, policy: Policy, number: int) -> float:
    """Seconds of a run in which something stands at the place; each number has texts of its own."""
    if place == "input":
        return (await _converse(chat, policy, _text(number), 2))[0]
    if place == "output":
        return (await _converse(chat, policy, f"{number} write", ANSWER))[1]
    started = time.perf_counter()
    await _call(policy, [_text(number, 100)], _text(number), code=place == "code")
    return time.perf_counter() - started


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


async def _call(guards: Policy, texts: list[str], result: str, *, code: bool = False) -> None:
    """A run of a scripted model that makes a call with each of the texts."""

    @tool(effect="read", name="code_interpreter" if code else "look")
    async def look(text: str = "", code: str = "") -> str:
        """Look."""
        return result

    calls = [f"<|python_tag|>print('{text}')" if code else json.dumps(_look(text)) for text in texts]
    model = ScriptedModel([*(f"{call}<|eom_id|>" for call in calls), "Done.<|eot_id|>"])
    await Agent(model, tools=[look], guards=guards, limits=Limits(max_steps=None)).run("hello")


def _look(text: str) -> dict[str, Any]:
    return {"name": "look", "parameters": {"text": text}}


async def _patterns() -> dict[str, float]:
    """Processor time that the preset without a model adds, in microseconds."""
    calls, words = 300, 5000
    texts = [f"some words {number}" for number in range(calls)]

    async def stream(guards: Policy) -> None:
        await Agent(ScriptedModel(["word " * words + "<|eot_id|>"]), guards=guards).run("hello")

    before = hand_us()
    step, loop_step = await _cpu(lambda guards: _call(guards, texts, "a result of a few words"))
    hand = min(before, hand_us())
    token, loop_token = await _cpu(stream)
    return {
        "us_a_step": round(1e6 * step / calls, 1),
        "us_a_step_scaled": round(1e6 * step / calls * HAND_US / hand, 1),
        "loop_us_a_step": round(1e6 * loop_step / calls, 1),
        "us_a_token": round(1e6 * token / (words * 5 / 4), 2),
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


def _text(number: int, length: int = PROMPT) -> str:
    """About so many tokens that no other text begins with."""
    return f"{number} " + "".join(chr(97 + (number * 7 + index * index) % 26) for index in range(length))


def _ms(times: list[float]) -> float:
    return round(1e3 * min(times), 1)


if __name__ == "__main__":
    sys.exit(main())
