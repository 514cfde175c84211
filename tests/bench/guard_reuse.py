"""What a guard's check costs when it knows the conversation already; prints one line of JSON.

Run it as ``python tests/bench/guard_reuse.py [--full]``. A chat model and a guard, two models in one process on a
thread each, take turns over one conversation. The guard reads its categories (600 tokens), the conversation so
far (8 turns of 120 tokens) and a tail of 60, and writes 3 tokens, after each turn: once with what it remembers
and once afresh, in processor time. ``holds`` is false when a check that remembers reads more than the turn's new
tokens and its tail, or when the fresh checks together cost less than twice as much.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from random_model import SHAPES, write_random_model

from arriero.agent.backends import Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel

CATEGORIES, TURN, TAIL, TURNS, OUT = 600, 120, 60, 8, 3
LEAST_GAIN = 2.0
GREEDY = Sampling(temperature=0)


def main() -> int:
    """Converse and check in turns, print what the checks cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="a guard of Llama Guard 3 1B's size; minutes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chat = write_random_model(folder / "chat.gguf", SHAPES["tiny"])
        kind = ("1b", "q4_0") if options.full else ("small", "q8_0")
        guard = write_random_model(folder / "guard.gguf", SHAPES[kind[0]], kind[1])
        figures = asyncio.run(_measure(chat, guard))
    holds = figures["most_read_beyond_new"] == 0 and figures["fresh_over_reused"] >= LEAST_GAIN
    print(json.dumps({"guard": " ".join(kind), **figures, "holds": holds}))
    return 0 if holds else 1


async def _measure(chat_path: Path, guard_path: Path) -> dict[str, float]:
    chat = LlamaCppModel(chat_path, n_ctx=2048, n_threads=1)
    guard = LlamaCppModel(guard_path, n_ctx=2048, n_threads=1)
    fresh = LlamaCppModel(guard_path, n_ctx=2048, n_threads=1)
    await _write(chat, [1], 1)
    conversation: list[int] = []
    costs: dict[str, list[float]] = {"chat": [], "reused": [], "fresh": []}
    beyond = []
    for turn in range(TURNS):
        conversation += [(turn * 131 + index * 17) % 90_000 for index in range(TURN - 20)]
        costs["chat"].append(await _write(chat, conversation, 20))
        prompt = [*range(1000, 1000 + CATEGORIES), *conversation, *range(5000, 5000 + TAIL)]
        read = guard.stats.prefilled_tokens
        costs["reused"].append(await _write(guard, list(prompt), OUT))
        new = (CATEGORIES if turn == 0 else 0) + TURN + TAIL
        beyond.append(guard.stats.prefilled_tokens - read - new)
        # Nothing of the prompt is known behind a token that no other prompt begins with.
        costs["fresh"].append(await _write(fresh, [turn, *prompt[1:]], OUT))
    for model in (chat, guard, fresh):
        await model.aclose()
    later = {name: sum(values[1:]) / (TURNS - 1) for name, values in costs.items()}
    return {
        "most_read_beyond_new": max(beyond),
        "chat_turn_ms": round(1e3 * later["chat"], 1),
        "check_ms_reused": round(1e3 * later["reused"], 1),
        "check_ms_fresh": round(1e3 * later["fresh"], 1),
        "fresh_over_reused": round(later["fresh"] / later["reused"], 2),
        "fresh_over_reused_last": round(costs["fresh"][-1] / costs["reused"][-1], 2),
    }


async def _write(model: LlamaCppModel, transcript: list[int], count: int) -> float:
    begun = time.process_time()
    transcript += [token.id async for token in model.generate(list(transcript), GREEDY, max_tokens=count)]
    return time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main())
