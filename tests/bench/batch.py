"""What decoding the rows of a batch together is worth, and what a row costs.

    python tests/bench/batch.py [--rows 12] [--jobs 8] [--shape tiny] [--many 2000]

Runs the same rows on a model of random weights one at a time and several at a time, on one thread, in CPU seconds
of this process, which other work on the machine does not change much; then ``--many`` rows of a scripted model in two
processes, one with a fifth of them: what a row costs in CPU time and in memory that stays. Holds when rows decoded
together cost no more CPU time and at most half of the decodes, and a row leaves less than 8 kB in memory. What a
process that is killed leaves is in batch_kills.py. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from random_model import SHAPES, write_random_model

from arriero.agent.backends import LlamaCppModel
from arriero.agent.tasks import Task
from arriero.agent.tasks.batch import run_batch

TEXT = """\
name: bench
inputs: {n: {type: int}}
defaults: {temperature: 0}
limits: {output_tokens: 40}
steps:
  - {id: a, prompt: "Tell me a story about {{ inputs.n }} mules."}
"""

COUNTING = """
import asyncio, resource, sys, time
from pathlib import Path
from arriero import FunctionModel
from arriero.agent.tasks import Task
from arriero.agent.tasks.batch import run_batch

task, model = Task.parse(sys.argv[3]), FunctionModel(lambda prompt: "1<|eot_id|>")
asyncio.run(run_batch(task, Path(sys.argv[1]), Path(sys.argv[2]), model, jobs=4))
print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_rows(folder: Path, count: int) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(f'{{"n": {n + 2}}}\n' for n in range(count)))
    return path


def decoding(folder: Path, file: Path, rows: int, jobs: int) -> dict[str, float]:
    """CPU seconds and decodes of one batch, with a model loaded for so many rows at a time."""
    model = LlamaCppModel(file, n_threads=1, n_parallel=jobs)
    out = folder / f"out-{jobs}"
    started = time.process_time()
    result = asyncio.run(
        run_batch(Task.parse(TEXT), write_rows(folder, rows), out, model, jobs=jobs, guards="off")
    )
    seconds = time.process_time() - started
    stats = model.stats
    asyncio.run(model.aclose())
    assert result.missing == 0
    return {"seconds": seconds, "decodes": stats.decodes, "tokens": stats.decoded_tokens}


def counting(folder: Path, rows: int) -> dict[str, float]:
    """CPU milliseconds and bytes of memory that a row costs: the difference between many rows and few."""
    measured = []
    for count in (rows // 5, rows):
        path = write_rows(folder, count)
        program = [sys.executable, "-c", COUNTING, str(path), str(folder / f"many-{count}"), TEXT]
        said = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
        measured.append((float(said[0]), float(said[1]) * 1024))
    (few_seconds, few_bytes), (seconds, size) = measured
    more = rows - rows // 5
    return {
        "row_cpu_ms": round((seconds - few_seconds) / more * 1000, 2),
        "row_bytes": round((size - few_bytes) / more),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--many", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = write_random_model(folder / "random.gguf", SHAPES[options.shape])
        one, many = (decoding(folder, file, options.rows, jobs) for jobs in (1, options.jobs))
        counted = counting(folder, options.many)
    cpu, decodes = many["seconds"] / one["seconds"], many["decodes"] / one["decodes"]
    print(f"{options.rows} rows      one at a time   {options.jobs} at a time   ratio")
    print(f"CPU seconds    {one['seconds']:13.2f} {many['seconds']:14.2f} {cpu:9.2f}")
    print(f"decodes        {one['decodes']:13.0f} {many['decodes']:14.0f} {decodes:9.2f}")
    print(
        f"{options.many} rows: {counted['row_cpu_ms']} ms of CPU time and {counted['row_bytes']} bytes a row"
    )
    figures = {
        "cpu_ratio": round(cpu, 3),
        "decode_ratio": round(decodes, 3),
        **counted,
    }
    holds = cpu <= 1.05 and decodes <= 0.5 and counted["row_bytes"] < 8000
    print(json.dumps({**figures, "holds": holds}))


if __name__ == "__main__":
    main()
