"""Whether thousands of short conversations leave anything behind; prints one line of JSON.

Run it as ``python tests/bench/soak.py [--conversations N] [--full]`` (640 by default, 2,000 with ``--full``): a half
of them on a model with random weights, a half on the bundled one, eight at once, some of them cancelled. ``holds`` is
false when resident memory over the second half of the conversations grows by more than 8 MB, when file descriptors or
threads become more, or when eight conversations of the last quarter take over 1.3 times the processor time of eight
of the second one (medians).
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from peers import resident_mb
from random_model import SHAPES, Shape, write_random_model

from arriero.agent.backends import Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.models import bundled_model

MOST_GROWTH_MB, MOST_SLOWDOWN = 8.0, 1.3
AT_ONCE = 8
SHAPES["minute"] = Shape(64, 2, 2, 1, 32, 128)


def main() -> int:
    """Hold the conversations, print what is left of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=640)
    parser.add_argument("--full", action="store_true", help="2,000 conversations; minutes")
    options = parser.parse_args()
    count = 2000 if options.full else options.conversations
    with tempfile.TemporaryDirectory() as folder:
        path = write_random_model(Path(folder) / "model.gguf", SHAPES["minute"])
        parts = [asyncio.run(_soak(path, count // 2)), asyncio.run(_soak(bundled_model(), count // 2))]
    figures = dict(zip(("random", "bundled"), parts, strict=True))
    holds = all(
        part["grown_mb"] <= MOST_GROWTH_MB
        and part["descriptors"] <= 0
        and part["threads"] <= 0
        and part["slowdown"] <= MOST_SLOWDOWN
        for part in parts
    )
    print(json.dumps({"conversations": count, **figures, "holds": holds}))
    return 0 if holds else 1


async def _soak(path: Path, count: int) -> dict[str, float]:
    model = LlamaCppModel(path, n_ctx=1024, n_threads=1, n_parallel=AT_ONCE)
    marks: list[tuple[float, float, int, int]] = []
    for quarter in range(4):
        spent = []
        for first in range(0, count // 4, AT_ONCE):
            begun = time.process_time()
            async with asyncio.TaskGroup() as group:
                for index in range(AT_ONCE):
                    group.create_task(_converse(model, quarter * count + first + index))
            spent.append(time.process_time() - begun)
        descriptors = len(os.listdir("/proc/self/fd"))
        marks.append((statistics.median(spent), resident_mb(), descriptors, threading.active_count()))
    await model.aclose()
    (
        (_, _, _, _),
        (half, memory, descriptors, threads),
        _,
        (last, memory_end, descriptors_end, threads_end),
    ) = marks
    return {
        "resident_mb": round(memory_end, 1),
        "grown_mb": round(memory_end - memory, 2),
        "descriptors": descriptors_end - descriptors,
        "threads": threads_end - threads,
        "slowdown": round(last / half, 2),
    }


async def _converse(model: LlamaCppModel, number: int) -> None:
    """Two turns; every ninth conversation is broken off."""
    size = model.engine.vocab.size
    transcript = [(number * 31 + index * 7) % (size - 300) for index in range(24)]
    for _ in range(2):
        async for token in model.generate(list(transcript), Sampling(seed=number), max_tokens=3):
            transcript.append(token.id)
            if number % 9 == 0:
                return
        transcript += [3, 4, 5]


if __name__ == "__main__":
    sys.exit(main())
