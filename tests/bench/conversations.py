"""Several conversations at once on one model; prints one line of JSON.

It runs as ``python tests/bench/concurrent.py [--full] [--shape SHAPE] [--server PROGRAM]``. N conversations share a
head of 1,000 tokens and take turns of 150 new tokens in and 32 out. Compared, each in a process of its own, on one
thread, in processor time: arriero with N sequences, and llama-cpp-python's class, which has one, with the
conversations round-robin (what a lock around it gives) and one after the other. Where there is a llama-server
(``--server``, LLAMA_SERVER, or on the path), it has a slot for each conversation, named in every request, and a
prompt cache, once with a stream for each slot and once unified; only its own time counts, not that of who asks it.
The wait for a first token counts from the end of the conversation's turn before.

``holds`` is false when round-robin at N = 8 costs less than 1.5 of arriero, when one after the other costs less
than 1.0 of it, when the better llama-server costs less than 1.2 of it (2.1 with 3 turns in the shape of Llama 3.2 1B,
of whose time reading is a larger part), or when a conversation has not half of its tokens by the time that another
one has all. By default the model is tiny and there are 3 turns; ``--full`` takes 174 million weights, 3 and 8 turns,
and many minutes; ``--shape``, ``--model``, ``--counts`` and ``--turns`` take others.
"""

import argparse
import asyncio
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from llama_server import LlamaServer, find_program
from peers import high_level, resident_mb
from random_model import SHAPES, write_random_model

from arriero.agent.backends import Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel

HEAD, NEW, OUT = 1000, 150, 32
COUNTS = (1, 2, 4, 8, 16)
WAYS = ("arriero", "round_robin", "sequential")
SERVERS = ("server_streams", "server_unified")
LEAST_OF_ROUND_ROBIN, LEAST_OF_SEQUENTIAL, LEAST_PROGRESS = 1.5, 1.0, 0.5
LEAST_OF_SERVER = 1.2
LEAST_OF_SERVER_READING = 2.1  # 3 turns of a model whose body is much larger than its output
GREEDY = Sampling(temperature=0)


@dataclass
class Measured:
    """What one way took; waits are processor seconds from the end of a turn to the next first token."""

    turns: int
    waits: list[float] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    progress: float = 0.0

    def finished(self, index: int) -> None:
        """Note the tokens that the slowest has when the first one has all of its own."""
        if not self.progress and self.done[index] == self.turns * OUT:
            self.progress = min(self.done) / (self.turns * OUT)


def main() -> int:
    """Run every way for every N in processes of their own, print the ratios."""
    options = _options()
    if options.one:
        way, count, turns = options.one
        print(json.dumps(_run(way, options.model, options.server, int(count), int(turns))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        shape = options.shape or ("small" if options.full else "tiny")
        kind = "q8_0" if shape in ("tiny", "small") else "q4_0"
        path = options.model or write_random_model(Path(folder) / "model.gguf", SHAPES[shape], kind)
        every_turns = options.turns or ((3, 8) if options.full else (3,))
        rows = [_row(path, options.server, count, turns) for turns in every_turns for count in options.counts]
    name = path.name if options.model else shape
    holds = all(_holds(name, row) for row in rows if row["n"] == 8)
    print(json.dumps({"model": name, "rows": rows, "holds": holds}))
    return 0 if holds else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--server", default=find_program(), help="a llama-server to compare with")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="conversations at once")
    parser.add_argument("--turns", type=int, nargs="+", help="turns of each conversation")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "N", "TURNS"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _holds(model: str, row: dict[str, float]) -> bool:
    reading = model == "1b" and row["turns"] <= 3
    least_of_server = LEAST_OF_SERVER_READING if reading else LEAST_OF_SERVER
    return (
        row["over_round_robin"] >= LEAST_OF_ROUND_ROBIN
        and row["over_sequential"] >= LEAST_OF_SEQUENTIAL
        and row.get("over_server", math.inf) >= least_of_server
        and row["progress"] >= LEAST_PROGRESS
    )


def _row(path: Path, server: str | None, count: int, turns: int) -> dict[str, float]:
    found = {}
    ways = (*(WAYS if count > 1 else WAYS[:2]), *(SERVERS if server else ()))
    for way in ways:
        program = Path(__file__).with_name("concurrent.py")
        command = [sys.executable, str(program), "--model", str(path), "--one", way, str(count), str(turns)]
        done = subprocess.run(
            [*command, *(("--server", server) if server else ())], check=True, capture_output=True, text=True
        )
        found[way] = json.loads(done.stdout.splitlines()[-1])
    ours = found["arriero"]
    row = {"n": count, "turns": turns, "cpu_seconds": ours["cpu"], "tokens_per_second": ours["rate"]}
    over = {way: round(found[way]["cpu"] / ours["cpu"], 2) for way in ways[1:]}
    row |= {f"over_{way}": ratio for way, ratio in over.items()}
    if server:
        row["over_server"] = min(over[way] for way in SERVERS)
    for way in ways:
        row[f"wait_s_{way}"] = found[way]["wait"]
        row[f"memory_mb_{way}"] = found[way]["memory"]
    return {**row, "progress": ours["progress"]}


def _run(way: str, path: Path, server: str | None, count: int, turns: int) -> dict[str, float]:
    measured = Measured(turns, done=[0] * count)
    if way == "arriero":
        cpu, memory = asyncio.run(_arriero(path, measured))
    elif way in SERVERS:
        assert server
        cpu, memory = _server(server, path, measured, unified=way == "server_unified")
    else:
        cpu, memory = _high_level(path, measured, one_by_one=way == "sequential")
    return {
        "cpu": round(cpu, 3),
        "rate": round(count * turns * (NEW + OUT) / cpu, 1),
        "wait": round(statistics.mean(measured.waits), 3),
        "memory": round(memory),
        "progress": round(measured.progress, 2),
    }


def _head() -> list[int]:
    return [1000 + index * 37 % 100_000 for index in range(HEAD)]


def _new(conversation: int, turn: int) -> list[int]:
    return [2000 + (conversation * 7919 + turn * 131 + index * 17) % 90_000 for index in range(NEW)]


def _length(turns: int) -> int:
    return HEAD + turns * (NEW + OUT) + 64


async def _arriero(path: Path, measured: Measured) -> tuple[float, float]:
    """Processor seconds, and resident memory with the model loaded."""
    count = len(measured.done)
    model = LlamaCppModel(path, n_ctx=_length(measured.turns), n_threads=1, n_parallel=count)
    async for _ in model.generate(_head(), GREEDY, max_tokens=1):
        pass
    begun = time.process_time()

    async def converse(index: int) -> None:
        transcript, ended = _head(), begun
        for turn in range(measured.turns):
            transcript += _new(index, turn)
            first = True
            async for token in model.generate(list(transcript), GREEDY, max_tokens=OUT):
                if first:
                    measured.waits.append(time.process_time() - ended)
                    first = False
                transcript.append(token.id)
                measured.done[index] += 1
            ended = time.process_time()
        measured.finished(index)

    async with asyncio.TaskGroup() as group:
        for index in range(count):
            group.create_task(converse(index))
    spent, memory = time.process_time() - begun, resident_mb()
    await model.aclose()
    return spent, memory


def _server(program: str, path: Path, measured: Measured, *, unified: bool) -> tuple[float, float]:
    """What the server spends, and its memory."""
    count = len(measured.done)
    with LlamaServer(program, path, count=count, length=_length(measured.turns), unified=unified) as server:
        list(server.write(0, _head(), 1))
        begun = server.spent()

        def converse(index: int) -> None:
            transcript, ended = _head(), begun
            for turn in range(measured.turns):
                transcript += _new(index, turn)
                written = server.write(index, transcript, OUT)
                transcript.append(next(written))
                measured.waits.append(server.spent() - ended)
                transcript += written
                measured.done[index] += OUT
                ended = server.spent()
            measured.finished(index)

        _at_once(converse, range(count))
        return server.spent() - begun, server.resident_mb()


def _at_once(work: Callable[[int], None], indexes: Iterable[int]) -> None:
    with ThreadPoolExecutor(max_workers=64) as pool:
        list(pool.map(work, indexes))


def _high_level(path: Path, measured: Measured, *, one_by_one: bool) -> tuple[float, float]:
    count = len(measured.done)
    with high_level(path, length=_length(measured.turns)) as llama:
        next(iter(llama.generate(_head(), temp=0.0)))
        transcripts = [_head() for _ in range(count)]
        turns = range(measured.turns)
        order = (
            itertools.product(range(count), turns)
            if one_by_one
            else ((index, turn) for turn in turns for index in range(count))
        )
        begun = time.process_time()
        ended = [begun] * count
        for index, turn in order:
            transcript = transcripts[index]
            transcript += _new(index, turn)
            for token in itertools.islice(llama.generate(list(transcript), temp=0.0), OUT):
                if measured.done[index] % OUT == 0:
                    measured.waits.append(time.process_time() - ended[index])
                transcript.append(token)
                measured.done[index] += 1
            ended[index] = time.process_time()
            measured.finished(index)
        return time.process_time() - begun, resident_mb()
