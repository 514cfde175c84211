"""A model on the GPU beside llama.cpp's own ``llama-bench`` of the same build; prints one line of JSON.

Run it as ``python tests/bench/gpu.py [--model FILE] [--shape SHAPE] [--layers N] [--bench PROGRAM]``. llama-bench and
the library that arriero uses are built once, together::

    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36
    tar xzf llama_cpp_python-0.3.36.tar.gz
    cmake -S llama_cpp_python-0.3.36/vendor/llama.cpp -B build -DCMAKE_BUILD_TYPE=Release -DGGML_CUDA=ON \\
        -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF
    cmake --build build -j --target llama-bench
    LLAMA_CPP_LIB_PATH=$PWD/build/bin python tests/bench/gpu.py --bench build/bin/llama-bench

(``-DGGML_VULKAN=ON`` or ``-DGGML_METAL=ON`` for other GPUs.) It takes as many layers as arriero chooses, or
``--layers``; reads 512 tokens and writes 128 in either program, in turns, the best of three in wall time; and records
the model, the device, the layers and why that many, tokens a second, how many rows a decode can check at little
more than the cost of one, and how long a cancel takes. Without ``--model`` it has random weights: the shape of Llama
3.1 8B where there is a GPU, else a tiny one.

``holds`` is false when reading or writing is slower than 0.98 of llama-bench, or a cancel takes more than 150 ms;
``not_done`` says in words what could not be run, and what is not done is not held. Wall time is worth something only
on a machine with nothing else to do.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from random_model import SHAPES, write_random_model

from arriero.agent.backends import Sampling
from arriero.agent.backends.devices import Device, build_command, find_devices
from arriero.agent.backends.llama_cpp import LlamaCppModel

READ, WRITE, REPEATS = 512, 128, 3
LEAST, MOST_TO_STOP_MS = 0.98, 150.0
GREEDY = Sampling(temperature=0)


def main() -> int:
    """Measure both programs, print what they did."""
    options = _options()
    gpus = [device for device in find_devices() if device.kind in ("gpu", "igpu")]
    shape = options.shape or ("8b" if gpus else "tiny")
    not_done = (
        [] if gpus else [f"no GPU that this build of llama.cpp can use; to build one: {build_command()}"]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or _random(Path(folder), shape)
        name = path.name if options.model else f"random, {shape}"
        figures = _compare(path, options.layers, options.bench, not_done)
    report = {"model": name, "devices": [_told(device) for device in gpus], **figures}
    holds = min(figures.get("over_bench_read", LEAST), figures.get("over_bench_write", LEAST)) >= LEAST
    holds = holds and figures["stop_ms"] <= MOST_TO_STOP_MS
    print(json.dumps({**report, "not_done": not_done, "holds": holds}))
    return 0 if holds else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument(
        "--layers", type=int, help="on the GPU; -1 is all, default as many as arriero chooses"
    )
    parser.add_argument("--bench", default=os.environ.get("LLAMA_BENCH") or shutil.which("llama-bench"))
    return parser.parse_args()


def _random(folder: Path, shape: str) -> Path:
    return write_random_model(
        folder / f"{shape}.gguf", SHAPES[shape], "q8_0" if shape in ("tiny", "small") else "q4_0"
    )


def _told(device: Device) -> str:
    return f"{device.name} ({device.description}), {device.free >> 20} of {device.total >> 20} MiB free"


def _compare(path: Path, layers: int | None, bench: str | None, not_done: list[str]) -> dict[str, Any]:
    begun = time.perf_counter()
    model = LlamaCppModel(path, n_gpu_layers=layers, n_ctx=2048)
    loaded = time.perf_counter() - begun
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    try:
        with asyncio.Runner() as runner:
            runner.run(_read_and_write(model, 0))  # the first time, graphs are made
            for turn in range(1, REPEATS + 1):
                ours.append(runner.run(_read_and_write(model, turn)))
                if bench:
                    theirs.append(_bench(bench, path, model))
            stop = min(runner.run(_stop(model)) for _ in range(REPEATS))
        figures = {
            "layers": model.placement.gpu_layers, "of_layers": model.placement.layers,
            "why": model.placement.reason, "threads": model.threads, "load_s": round(loaded, 2),
            "rows_that_pay": model.engine._batcher._rows, "stop_ms": round(1e3 * stop, 1),
        }  # fmt: skip
    finally:
        model.engine.close()
    best = [max(speeds) for speeds in zip(*ours, strict=True)]
    figures |= {"read_per_second": round(best[0], 1), "write_per_second": round(best[1], 1)}
    if not theirs:
        not_done.append("no comparison: llama-bench was not found; name it with --bench")
        return figures
    peer = [max(speeds) for speeds in zip(*theirs, strict=True)]
    return figures | {
        "bench_read_per_second": round(peer[0], 1),
        "bench_write_per_second": round(peer[1], 1),
        "over_bench_read": round(best[0] / peer[0], 3),
        "over_bench_write": round(best[1] / peer[1], 3),
    }


async def _read_and_write(model: LlamaCppModel, turn: int) -> tuple[float, float]:
    """Tokens a second of reading a prompt, and of writing behind one token."""
    prompt = [1000 + (turn * 7919 + index * 37) % 100_000 for index in range(READ)]
    begun = time.perf_counter()
    await model.prefill(prompt)
    read = READ / (time.perf_counter() - begun)
    times = [
        time.perf_counter() async for _ in model.generate([turn], GREEDY, max_tokens=WRITE + 1)
    ]  # the first one ends the reading
    return read, WRITE / (times[-1] - times[0])


async def _stop(model: LlamaCppModel) -> float:
    """Seconds from a cancel inside a prompt until nothing is computed."""
    reading = asyncio.create_task(model.prefill([*range(3, 1803)]))
    await asyncio.sleep(0.02)
    begun = time.perf_counter()
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    while not model.engine.idle:
        time.sleep(0.001)  # noqa: ASYNC251 -- nothing else runs on this loop
    return time.perf_counter() - begun


def _bench(program: str, path: Path, model: LlamaCppModel) -> tuple[float, float]:
    sizes = ("-p", str(READ), "-n", str(WRITE), "-r", "1")
    place = ("-ngl", str(model.placement.gpu_layers), "-t", str(model.threads))
    command: Sequence[str] = (program, "-m", str(path), *sizes, *place, "-o", "json")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    read, write = (test["avg_ts"] for test in json.loads(done.stdout))
    return read, write


if __name__ == "__main__":
    sys.exit(main())
