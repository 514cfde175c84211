"""Calls written under a grammar: how many cannot run, and what the grammar costs; prints one line of JSON.

Run it as ``python tests/bench/grammar.py [--calls N] [--full]``. Calls come from three sources: models with random
weights (270 tokens, every byte among them) and the bundled one, both at temperature 1.5 and top_p 1, and tokens drawn
evenly from the bundled vocabulary behind every way in which a call can open. Each call that is read is checked as
the loop checks it: messages that cannot be read, names that no tool has and arguments that do not fit count.

The cost is processor time of one thread, on a vocabulary of 128,256 tokens, for two models: one so small that little
hides what the grammar takes, and one with the shape of Llama 3.2 1B. ``speed_…`` is the speed of greedy tokens under
the grammar ÷ that of prose without a constraint: of short calls, which gain from tokens that are forced and not
sampled (more than they would with a real vocabulary: this one spells names in bytes); of one long text; and of a
text of which nearly every token is refused first, the most that the grammar can cost. ``prose_us`` is what a token of
prose and of source code costs more under a constraint. ``holds`` is false when one call cannot run, when prose costs
more than 2 % of a token of the smaller model, or anything under the grammar more than 10 % on either.
"""

import argparse
import asyncio
import itertools
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from random_model import SHAPES, write_random_model

from arriero.agent.backends import Constraint, Sampling
from arriero.agent.backends.grammar import Grammars, Guide
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.backends.sampler import GuidedSampler
from arriero.agent.backends.vocab import Vocab
from arriero.agent.models import bundled_model
from arriero.prompts import Message, ToolSpec
from arriero.prompts.dialects import get_dialect
from arriero.prompts.parser import parse
from arriero.tools.arguments import argument_error

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.agent.backends.test_grammar import STARTS, random_message
from tests.agent.backends.tiny_gguf import write_tiny_gguf

ROOT = Path(__file__).parents[2]
MOST_FOR_PROSE, LEAST_SPEED = 0.02, 1 / 1.10
LONGEST = 160  # tokens of a message
RANDOM = 8  # models with weights of their own: each has its habits
WRONG = ("unreadable", "unknown", "unfit")
MODELS = {"tiny": ("q8_0", 96, 8), "1b": ("q4_0", 24, 2)}  # kind, tokens a turn, turns


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
LANES: dict[str, Constraint | None] = {
    "prose": None,
    "short": Constraint(TOOLS, required=True),
    "text": Constraint(answer={"type": "string", "minLength": 600, "maxLength": 700}),
    "refused": Constraint(answer={"type": "string", "pattern": "^[aeiou]{600,700}$"}),
}


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
        tools = (*TOOLS, CODE) if seed % 8 < 4 else TOOLS
        constraint = Constraint(tools, required=seed % 4 > 0)
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


class Written:
    """A sampler whose choices are known beforehand, and not given up."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = iter(tokens)
        self._last = 0

    def sample(self, _context: Any, _row: int) -> int:
        self._last = next(self._tokens)
        return self._last

    def sample_from(self, _context: Any, _row: int, _ids: Any) -> int:
        return self._last

    def close(self) -> None:
        """Nothing is held."""


def _watching() -> float:
    """Microseconds a token of prose and code costs more under a constraint; the cheapest of several readings."""
    words = Vocab.from_gguf(bundled_model())
    compiled = Grammars(words).compile(Constraint((*TOOLS, CODE)))
    pages = (ROOT / "docs" / "servers.md", Path(__file__))
    tokens = words.encode("\n".join(page.read_text() for page in pages))
    words.close()

    def read(*, held: bool) -> float:
        guide = Guide(compiled)
        sampler = GuidedSampler(Written(tokens), guide, words.size) if held else Written(tokens)
        begun = time.thread_time()
        for _ in tokens:
            sampler.sample(None, 0)
            if held:
                guide.forced()
        return time.thread_time() - begun

    both = [(read(held=True), read(held=False)) for _ in range(5)]
    return 1e6 * (min(held for held, _ in both) - min(bare for _, bare in both)) / len(tokens)


def _cost(model: LlamaCppModel, runner: asyncio.Runner, tokens: int, turns: int) -> dict[str, float]:
    """Speed under the grammar ÷ speed of prose; of runs that take turns the least disturbed ones."""
    prompt = model.tokenize(get_dialect().render([Message(role="user", content="Tell me of llamas.")]))
    seconds: dict[str, list[float]] = {name: [] for name in LANES}
    for turn in range(turns + 1):
        for name, constraint in LANES.items():
            begun = time.process_time()
            written = runner.run(_greedy(model, prompt, tokens, constraint))
            if turn:  # the first meets cold caches and compiles the grammar
                seconds[name].append((time.process_time() - begun) / written)
    token = {name: min(times) for name, times in seconds.items()}
    speeds = {f"speed_{name}": token["prose"] / token[name] for name in LANES if name != "prose"}
    return {name: round(value, 3) for name, value in {"ms a token": 1000 * token["prose"], **speeds}.items()}


async def _greedy(model: LlamaCppModel, prompt: list[int], tokens: int, constraint: Constraint | None) -> int:
    stream = model.generate(prompt, Sampling(temperature=0), max_tokens=tokens, constraint=constraint)
    return len([token async for token in stream])


def _costs(folder: Path, runner: asyncio.Runner) -> dict[str, Any]:
    figures: dict[str, Any] = {"prose_us": round(_watching(), 2)}
    for shape, (kind, tokens, turns) in MODELS.items():
        path = write_random_model(folder / f"{shape}.gguf", SHAPES[shape], kind)
        model = LlamaCppModel(path, n_threads=1)
        figures[shape] = _cost(model, runner, tokens, turns)
        runner.run(model.aclose())
        path.unlink()
    figures["prose_share"] = round(figures["prose_us"] / 1000 / figures["tiny"]["ms a token"], 4)
    return figures


def _cheap(cost: dict[str, Any]) -> bool:
    speeds = [cost[shape][f"speed_{name}"] for shape in MODELS for name in LANES if name != "prose"]
    return bool(cost["prose_share"] <= MOST_FOR_PROSE and min(speeds) >= LEAST_SPEED)


def _figures(counts: Counter[str]) -> dict[str, int]:
    return {key: counts[key] for key in sorted({*counts, "cut off", *WRONG})}


def main() -> int:
    """Count calls that cannot run, measure what the grammar costs, print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=150, help="calls of each source (default 150)")
    parser.add_argument("--full", action="store_true", help="10,000 calls of each source; an hour")
    options = parser.parse_args()
    wanted = 10_000 if options.full else options.calls
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, asyncio.Runner() as runner:
        folder = Path(name)
        figures["drawn"] = _figures(_draw(wanted))
        random = [write_tiny_gguf(folder / f"{seed}.gguf", seed=seed) for seed in range(RANDOM)]
        for source, paths in (("random", random), ("bundled", [bundled_model()])):
            counts: Counter[str] = Counter()
            for path in paths:
                model = LlamaCppModel(path, n_threads=1)
                counts += runner.run(_count(model, math.ceil(wanted / len(paths))))
                runner.run(model.aclose())
            figures[source] = _figures(counts)
        figures["cost"] = _costs(folder, runner)
    wrong = sum(figures[source][key] for source in ("drawn", "random", "bundled") for key in WRONG)
    figures["holds"] = wrong == 0 and _cheap(figures["cost"])
    print(json.dumps(figures))
    return 0 if figures["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
