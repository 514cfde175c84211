"""How long a folder of many documents takes to index and to ask, and how much memory; prints one line of JSON.

Run it as ``python tests/bench/documents.py [FILES]`` (10,000 by default). ``holds`` is false when indexing grows
the process by more than 100 MB, when the median of a query's processor time is over 20 ms, or when a second pass
reads any file. Queries are drawn as words in texts are, so that most of them hold words that are everywhere.
"""

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from arriero.tools.documents import DocumentIndex

MOST_MEMORY_MB = 100.0
MOST_QUERY_MS = 20.0

# Zipf's law, as words in documents have it: a few are everywhere, most are rare.
WORDS = [f"word{n}" for n in range(20_000)]
WEIGHTS = [1 / (n + 1) for n in range(len(WORDS))]


def main() -> int:
    """Make the files, index them twice, ask 200 queries, print what was measured."""
    if sys.argv[1:2] == ["--write"]:
        print(_write(Path(sys.argv[2]), int(sys.argv[3])))
        return 0
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "docs"
        # In a process of its own: what it needs would hide what indexing needs.
        write = [sys.executable, __file__, "--write", str(folder), str(count)]
        size = int(subprocess.run(write, check=True, capture_output=True, text=True).stdout)
        measured = _measure(folder, Path(name) / "index.sqlite3")
    holds = (
        measured["files"] == count
        and measured["read_again"] == 0
        and measured["memory_mb"] < MOST_MEMORY_MB
        and measured["query_cpu_ms_median"] < MOST_QUERY_MS
    )
    print(json.dumps({"text_mb": round(size / 1e6, 1), **measured, "holds": holds}))
    return 0 if holds else 1


def _measure(folder: Path, path: Path) -> dict[str, float]:
    index = DocumentIndex(folder, path=path)
    before, begun, cpu = _peak_mb(), time.perf_counter(), time.process_time()
    report = index.refresh()
    indexed, cpu = time.perf_counter() - begun, time.process_time() - cpu
    grown = _peak_mb() - before
    read: list[str] = []
    begun = time.perf_counter()
    index.refresh(lambda progress: read.append(progress.path))
    again = time.perf_counter() - begun
    draw = random.Random(11)
    queries = [" ".join(draw.choices(WORDS, WEIGHTS, k=draw.randint(1, 5))) for _ in range(200)]
    took = [_asked_ms(index, query) for query in queries]
    wall, used = sorted(pair[0] for pair in took), sorted(pair[1] for pair in took)
    return {
        "files": report.added,
        "index_s": round(indexed, 2),
        "index_cpu_s": round(cpu, 2),
        "memory_mb": round(grown, 1),
        "again_s": round(again, 3),
        "read_again": len(read),
        "query_ms_median": round(statistics.median(wall), 2),
        "query_cpu_ms_median": round(statistics.median(used), 2),
        "query_cpu_ms_p95": round(used[int(len(used) * 0.95)], 2),
        "index_mb": round(path.stat().st_size / 1e6, 1),
    }


def _write(folder: Path, count: int) -> int:
    """Write the files, 3 KB each, dated far enough back that a second pass trusts their time."""
    draw = random.Random(7)
    pool = draw.choices(WORDS, WEIGHTS, k=500_000)
    size = 0
    for n in range(count):
        inside = folder / f"{n % 100}"
        inside.mkdir(parents=True, exist_ok=True)
        start = draw.randrange(len(pool) - 400)
        lines = [" ".join(pool[at : at + 10]) for at in range(start, start + 400, 10)]
        path = inside / f"{n}.md"
        size += path.write_text(f"# Document {n}\n\n" + "\n".join(lines) + "\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return size


def _asked_ms(index: DocumentIndex, query: str) -> tuple[float, float]:
    """Time on the clock and time of the processor; the first tells nothing on a busy machine."""
    begun, cpu = time.perf_counter(), time.process_time()
    index.find(query)
    return (time.perf_counter() - begun) * 1000, (time.process_time() - cpu) * 1000


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
