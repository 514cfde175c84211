"""Many runs in one process: memory, threads and files stay as they are; prints one line of JSON.

Run it as ``python tests/bench/soak_runs.py [CONCURRENT] [SEQUENTIAL]`` (300 and 700 by default; the full soak is
``1000 10000``). Every run makes a call and is kept in a journal. ``holds`` is false when a run does not end as it
should, when memory grows by over 8 MiB from the first half of the sequence to its end, or when a thread or an open
file more is there at the end than at the start.
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from arriero.agent import Agent
from arriero.agent.backends import FunctionModel
from arriero.agent.journal import Journal
from arriero.tools import tool

MOST_GROWTH_MB = 8.0


def main() -> int:
    """Run and print."""
    given = [int(word) for word in sys.argv[1:]]
    concurrent, sequential = (given + [300, 700][len(given) :])[:2]
    with tempfile.TemporaryDirectory() as folder:
        measured = asyncio.run(_soak(concurrent, sequential, Path(folder)))
    print(json.dumps(measured))
    return 0 if measured["holds"] else 1


async def _soak(concurrent: int, sequential: int, folder: Path) -> dict[str, Any]:
    journal = Journal(folder / "journal.db")
    threads, files = threading.active_count(), _open_files()
    start = time.process_time()
    at_once = await asyncio.gather(*(_one(journal) for _ in range(concurrent)))
    ended = sum(reason == "final" for reason in at_once)
    memory: list[float] = []
    for number in range(sequential):
        ended += await _one(journal) == "final"
        if number % max(1, sequential // 10) == 0:
            memory.append(_memory_mb())
    used = time.process_time() - start
    memory.append(_memory_mb())
    kept = len(journal.runs())
    journal.close()
    growth = memory[-1] - memory[len(memory) // 2]
    more_threads, more_files = threading.active_count() - threads, _open_files() - files
    whole = concurrent + sequential
    holds = ended == kept == whole and growth <= MOST_GROWTH_MB and more_threads <= 0 and more_files <= 0
    return {
        "concurrent": concurrent,
        "sequential": sequential,
        "ended": ended,
        "kept": kept,
        "memory_mb": [round(value, 1) for value in memory],
        "growth_mb": round(growth, 2),
        "more_threads": more_threads,
        "more_files": more_files,
        "cpu_ms_a_run": round(used / whole * 1e3, 2),
        "journal_kb_a_run": round((folder / "journal.db").stat().st_size / whole / 1e3, 2),
        "holds": holds,
    }


async def _one(journal: Journal) -> str:
    @tool(effect="read")
    async def look(x: int) -> int:
        """Look."""
        await asyncio.sleep(0)
        return x + 1

    def answer(prompt: str) -> str:
        if "ipython<|end" in prompt:
            return "Seen.<|eot_id|>"
        return '{"name": "look", "parameters": {"x": 1}}<|eom_id|>'

    agent = Agent(FunctionModel(answer), tools=[look], guards=None, journal=journal)
    result = await agent.run("Go")
    await agent.aclose()
    return result.stop_reason


def _memory_mb() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    sys.exit(main())
