"""Calls written under a grammar: how many cannot run, and what the grammar costs; prints one line of JSON.

Run it as ``python tests/bench/grammar.py [--calls N] [--full]``. Calls come from three sources: models with random
weights (270 tokens, every byte among them) and the bundled one, both at temperature 1.5 and top_p 1, and tokens drawn
evenly from the bundled vocabulary behind every way in which a call can open. Each call that is read is checked as
the loop checks it: messages that cannot be read, names that no tool has and arguments that do not fit count. The
cost is processor time of one thread for a token with and without a constraint, in turns, on a vocabulary of 128,256
tokens: greedy prose, and the tokens of calls against those of prose at the same temperature. ``--full`` has the
shape of Llama 3.2 1B there. ``holds`` is false when one call cannot run, when prose costs more than 2 %, or calls
more than 10 %.
"""

import argparse
import asyncio
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from random_model import SHAPES, write_random_model

from arriero.agent.backends import Constraint, Sampling
from arriero.agent.backends.grammar import Grammars
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.backends.vocab import Vocab
from arriero.agent.models import bundled_model
from arriero.prompts import Message, ToolSpec
from arriero.prompts.dialects import get_dialect
from arriero.prompts.parser import parse
from arriero.tools.arguments import argument_error

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.agent.backends.test_grammar import STARTS, random_message
from tests.agent.backends.tiny_gguf import write_tiny_gguf

MOST_FOR_PROSE, MOST_FOR_CALLS = 1.02, 1.10
PROSE, TURNS, LONGEST = 96, 7, 160
RANDOM = 8  # models with weights of their own: each has its habits
WRONG = ("unreadable", "unknown", "unfit")


def _tool(name: str, required: list[str], **properties: Any) -> ToolSpec:
    parameters = {"type": "object", "properties": properties, "required": required}
    return ToolSpec(name=name, description=f"{name}, for a measurement", parameters=parameters)


WORD = {"type": "string", "maxLength": 8}
TOOLS = (
    _tool("brave_search", ["query"], query={"type": "string"}),
    _tool("weather.v2", ["city"], city=WORD, unit={"enum": ["celsius", "fahrenheit"]}),
    _tool(
        "count",
        ["low", "high"],
        low={"type": "integer", "minimum": 0, "maximum": 99},
        high={"type": "integer"},
    ),
    _tool("switch", ["on"], on={"type": "boolean"}, why={"anyOf": [WORD, {"type": "null"}]}),
    _tool(
        "order",
        ["lines"],
        lines={
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
                    "n": {"type": "number"},
                },
                "required": ["sku"],
            },
        },
    ),
    _tool("now", []),
)
CODE = _tool("code_interpreter", ["code"], code={"type": "string"})


async def _write(
    model: LlamaCppModel, prompt: list[int], sampling: Sampling, **options: Any
) -> tuple[str, bool]:
    parts, stopped = [], False
    async for token in model.generate(prompt, sampling, **options):
        if token.stop:
            stopped = True
        else:
            parts.append(token.text)
    return "".join(parts), stopped


def _judge(text: str, tools: tuple[ToolSpec, ...], counts: Counter[str]) -> None:
    specs = {tool.name: tool for tool in tools}
    read = parse(text, tools, code=CODE in tools)
    counts["unreadable"] += len(read.malformed)
    for call in read.calls:
        counts["calls"] += 1
        counts[f"as {call.syntax}"] += 1
        if call.name not in specs:
            counts["unknown"] += 1
        elif argument_error(specs[call.name], call.arguments):
            counts["unfit"] += 1


async def _count(model: LlamaCppModel, wanted: int) -> Counter[str]:
    """Messages until ``wanted`` calls have been read: required ones, and free ones that begin as a call may."""
    counts: Counter[str] = Counter()
    seed = 0
    while counts["calls"] < wanted:
        seed += 1
        asked = Message(role="user", content=f"Call tool {seed}.")
        prompt = model.tokenize(get_dialect().render([asked], tools=TOOLS))
        tools = (*TOOLS, CODE) if seed % 4 == 0 else TOOLS
        constraint = Constraint(tools, required=seed % 2 == 0)
        sampling = Sampling(temperature=1.5, top_p=1.0, seed=seed)
        text, stopped = await _write(model, prompt, sampling, max_tokens=LONGEST, constraint=constraint)
        counts["messages"] += 1
        if stopped:
            _judge(text, tools, counts)
        else:
            counts["cut off"] += 1
    return counts


def _draw(wanted: int) -> Counter[str]:
    """The same for evenly drawn tokens."""
    counts: Counter[str] = Counter()
    words = Vocab.from_gguf(bundled_model())
    grammars = Grammars(words)
    for seed, start in enumerate(itertools.cycle(STARTS)):
        if counts["calls"] >= wanted:
            break
        tools = (*TOOLS, CODE) if seed % 2 else TOOLS
        constraint = Constraint(tools, required=not start and seed % 3 == 0)
        text = random_message(grammars, words, constraint, start, seed)
        counts["messages"] += 1
        if text is None:
            counts["cut off"] += 1
        else:
            _judge(text, tools, counts)
    return counts


def _timed(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _cost(model: LlamaCppModel, runner: asyncio.Runner) -> dict[str, float]:
    """Processor time with a constraint ÷ without, a token; medians of runs that take turns."""
    greedy = Sampling(temperature=0)
    warm = Sampling(temperature=1.5, top_p=1.0, seed=5)
    prompt = model.tokenize(get_dialect().render([Message(role="user", content="Tell me of llamas.")]))
    held, asked = Constraint(TOOLS), Constraint(TOOLS, required=True)
    seconds: dict[str, list[float]] = {"free": [], "held": [], "plain": [], "call": []}

    def spend(name: str, sampling: Sampling, constraint: Constraint | None, tokens: int) -> None:
        done: list[int] = []

        async def run() -> None:
            async for _ in model.generate(prompt, sampling, max_tokens=tokens, constraint=constraint):
                done.append(1)

        spent = _timed(lambda: runner.run(run()))
        seconds[name].append(spent / max(1, len(done)))

    for turn in range(TURNS + 1):
        for name, sampling, constraint in (
            ("free", greedy, None),
            ("held", greedy, held),
            ("plain", warm, None),
            ("call", warm, asked),
        ):
            spend(name, sampling, constraint, PROSE)
        if turn == 0:  # the first meets cold caches and compiles the grammar
            for one in seconds.values():
                one.clear()
    best = {name: statistics.median(one) for name, one in seconds.items()}
    return {
        "prose": best["held"] / best["free"],
        "calls": best["call"] / best["plain"],
        "ms a token": 1000 * best["free"],
    }


def _figures(counts: Counter[str]) -> dict[str, int]:
    return {key: counts[key] for key in sorted({*counts, "cut off", *WRONG})}


def main() -> int:
    """Count calls that cannot run, measure what the grammar costs, print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300, help="calls of each source (default 300)")
    parser.add_argument("--full", action="store_true", help="measure the cost on the shape of Llama 3.2 1B")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        figures["drawn"] = _figures(_draw(options.calls))
        random = [write_tiny_gguf(Path(folder) / f"{seed}.gguf", seed=seed) for seed in range(RANDOM)]
        for name, paths in (("random", random), ("bundled", [bundled_model()])):
            counts: Counter[str] = Counter()
            for path in paths:
                model = LlamaCppModel(path, n_threads=1)
                counts += runner.run(_count(model, math.ceil(options.calls / len(paths))))
                runner.run(model.aclose())
            figures[name] = _figures(counts)
        shape, kind = ("1b", "q4_0") if options.full else ("tiny", "q8_0")
        model = LlamaCppModel(write_random_model(Path(folder) / "big.gguf", SHAPES[shape], kind), n_threads=1)
        figures["cost"] = {key: round(value, 4) for key, value in _cost(model, runner).items()}
        runner.run(model.aclose())
    wrong = sum(figures[source][key] for source in ("drawn", "random", "bundled") for key in WRONG)
    cost = figures["cost"]
    figures["holds"] = wrong == 0 and cost["prose"] <= MOST_FOR_PROSE and cost["calls"] <= MOST_FOR_CALLS
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
