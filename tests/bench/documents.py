"""How long a folder of many documents takes to index and to ask, and how much memory; prints one line of JSON.

Run it as ``python tests/bench/documents.py [FILES]`` (10,000 by default). ``holds`` is false when indexing grows
the process by more than 100 MB, when a query's median is over 50 ms, or when a second pass reads any file.
"""

import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from arriero.tools.documents import DocumentIndex

MOST_MEMORY_MB = 100.0
MOST_QUERY_MS = 50.0


def main() -> int:
    """Make the files, index them twice, ask 200 queries, print what was measured."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    draw = random.Random(7)
    # Zipf's law, as words in documents have it: a few are everywhere, most are rare.
    words = [f"word{n}" for n in range(20_000)]
    weights = [1 / (n + 1) for n in range(len(words))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "docs"
        size = _write(folder, count, draw, words, weights)
        index = DocumentIndex(folder, path=Path(name) / "index.sqlite3")
        before = _peak_mb()
        begun = time.perf_counter()
        report = index.refresh()
        indexed = time.perf_counter() - begun
        grown = _peak_mb() - before
        read: list[str] = []
        begun = time.perf_counter()
        index.refresh(lambda progress: read.append(progress.path))
        again = time.perf_counter() - begun
        queries = [" ".join(draw.choices(words, weights, k=draw.randint(1, 5))) for _ in range(200)]
        took = sorted(_asked_ms(index, query) for query in queries)
        index_size = index.path.stat().st_size
    median = statistics.median(took)
    measured = {
        "files": report.files,
        "text_mb": round(size / 1e6, 1),
        "index_s": round(indexed, 2),
        "files_per_s": round(report.files / indexed),
        "memory_mb": round(grown, 1),
        "again_s": round(again, 3),
        "query_ms_median": round(median, 2),
        "query_ms_p95": round(took[int(len(took) * 0.95)], 2),
        "index_mb": round(index_size / 1e6, 1),
        "holds": report.added == count and not read and grown < MOST_MEMORY_MB and median < MOST_QUERY_MS,
    }
    print(json.dumps(measured))
    return 0 if measured["holds"] else 1


def _write(folder: Path, count: int, draw: random.Random, words: list[str], weights: list[float]) -> int:
    """Write the files, 3 KB each, dated far enough back that a second pass trusts their time."""
    size = 0
    pool = draw.choices(words, weights, k=500_000)
    for n in range(count):
        inside = folder / f"{n % 100}"
        inside.mkdir(parents=True, exist_ok=True)
        start = draw.randrange(len(pool) - 400)
        lines = [" ".join(pool[at : at + 10]) for at in range(start, start + 400, 10)]
        path = inside / f"{n}.md"
        size += path.write_text(f"# Document {n}\n\n" + "\n".join(lines) + "\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return size


def _asked_ms(index: DocumentIndex, query: str) -> float:
    begun = time.perf_counter()
    index.find(query)
    return (time.perf_counter() - begun) * 1000


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
