"""What a step costs in arriero and in other agent frameworks, measured in one run; the last line printed is JSON.

Run it as ``python tests/bench/frameworks.py OTHER_PYTHON [STEPS]`` (200 steps by default), where OTHER_PYTHON is the
interpreter of an environment with smolagents, pydantic-ai-slim, openai-agents, langchain, langgraph and
mini-swe-agent, of which any may be missing. Each framework runs in a process of its own with a scripted model and a
tool that answers with 200 characters (``other_frameworks.py``); arriero runs as it comes, and once with its journal.
A table in Markdown is printed first. Times are processor time of the whole process: microseconds for a step at the
beginning and the end of the run and for a streamed token, seconds from the first import to the first call of the
model, megabytes of memory after the import and after the run. Times are the best of three rounds, in which they take
turns: other work on a machine only ever makes them longer. ``holds`` is false when another framework has a cheaper
last step or token than arriero without the journal.
"""

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import other_frameworks as others
from other_frameworks import RESULT, TOKEN, Clock

TOKENS: Final = 2_000
WINDOW: Final = 10  # steps whose median is told
ROUNDS: Final = 3
TIMES: Final = ("first_us", "last_us", "token_us", "first_call_s")
QUIET: Final = {
    "OPENAI_API_KEY": "none",
    "LANGSMITH_TRACING": "false",
    "MSWEA_SILENT_STARTUP": "1",
    "MSWEA_COST_TRACKING": "ignore_errors",
}

Steps = Callable[[int, Clock], Callable[[], object]]


def arriero_steps(steps: int, clock: Clock, journal: Path | None = None) -> Callable[[], object]:
    from arriero import Agent, Limits, tool
    from arriero.agent.backends import Token

    class Scripted:
        name, dialect, context_length, constrains = "scripted", "llama3.1", 10**9, False

        def tokenize(self, segments: Sequence[Any]) -> list[int]:
            return [1] * sum(len(segment.text) // 4 + 1 for segment in segments)

        async def generate(self, tokens: Any, sampling: Any, **_: Any) -> AsyncGenerator[Token, None]:
            number = clock.enter()
            text = f'{{"name": "look", "parameters": {{"text": "{number}"}}}}' if number <= steps else "done"
            yield Token(1, text)
            stop = "eom" if number <= steps else "eot"
            clock.leave()
            yield Token(2, "", stop)

        async def aclose(self) -> None:
            """Nothing to free."""

    @tool(effect="read")
    async def look(text: str) -> str:
        """Look."""
        return RESULT

    agent = Agent(Scripted(), tools=[look], limits=Limits(max_steps=None), journal=journal)  # type: ignore[arg-type]
    return lambda: agent.run_sync("go").output


def arriero_tokens(count: int) -> int:
    from arriero import Agent, FunctionModel

    async def go() -> int:
        agent = Agent(
            FunctionModel(lambda prompt: TOKEN * count + "<|eot_id|>", chunk=len(TOKEN)), guards=None
        )
        return sum([1 async for _ in agent.stream("go")])

    return asyncio.run(go())


def kept_steps(steps: int, clock: Clock) -> Callable[[], object]:
    return arriero_steps(steps, clock, Path(tempfile.mkdtemp()) / "journal.db")


FRAMEWORKS: Final[dict[str, tuple[str, Steps, Callable[[int], int] | None]]] = {
    "arriero": ("arriero", arriero_steps, arriero_tokens),
    "arriero, journal on": ("arriero", kept_steps, None),
    "smolagents": ("smolagents", others.smolagents_steps, others.smolagents_tokens),
    "pydantic-ai": ("pydantic-ai-slim", others.pydantic_ai_steps, others.pydantic_ai_tokens),
    "openai-agents": ("openai-agents", others.openai_agents_steps, others.openai_agents_tokens),
    "langgraph": ("langgraph", others.langgraph_steps, others.langgraph_tokens),
    "mini-swe-agent": ("mini-swe-agent", others.mini_swe_agent_steps, None),
}


def main() -> int:
    """Measure each in a process of its own, and print."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(_one(sys.argv[2], int(sys.argv[3]))))
        return 0
    python, steps = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200
    rows: dict[str, dict[str, Any]] = {}
    for name in list(FRAMEWORKS) * ROUNDS:
        run = [sys.executable if name.startswith("arriero") else python, __file__, "--one", name, str(steps)]
        done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, **QUIET}, check=False)
        if done.returncode:
            print(f"{name}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}", file=sys.stderr)
            continue
        # What a framework prints itself stands before it, maybe on the same line.
        row = json.loads(done.stdout[done.stdout.rindex('{"version"') :])
        before = rows.get(name, row)
        rows[name] = row | {key: min(row[key], before[key]) for key in TIMES if row[key] is not None}
    print(_table(rows, steps))
    ours, theirs = rows["arriero"], [row for name, row in rows.items() if not name.startswith("arriero")]
    holds = bool(theirs) and all(
        row["last_us"] >= ours["last_us"] and (row["token_us"] or ours["token_us"]) >= ours["token_us"]
        for row in theirs
    )
    print(json.dumps({"steps": steps, **rows, "holds": holds}))
    return 0 if holds else 1


def _one(name: str, steps: int) -> dict[str, Any]:
    package, make, stream = FRAMEWORKS[name]
    try:
        found = version(package)
    except PackageNotFoundError:
        raise SystemExit(f"{package} is not installed") from None
    start = time.process_time()
    first = Clock()
    make(2, first)()
    after_import = _memory_mb()
    best: list[float] | None = None
    for _ in range(2):
        clock = Clock()
        make(steps, clock)()
        taken = clock.steps()
        assert len(taken) == steps, f"{len(taken)} steps instead of {steps}"
        best = taken if best is None or sum(taken) < sum(best) else best
    assert best is not None
    memory = _memory_mb()
    return {
        "version": found,
        "first_us": round(statistics.median(best[:WINDOW])),
        "last_us": round(statistics.median(best[-WINDOW:])),
        "token_us": None if stream is None else round(_token_us(stream), 1),
        "first_call_s": round(first.entered[0] - start, 2),
        "memory_mb": [round(after_import), round(memory)],
    }


def _token_us(stream: Callable[[int], int]) -> float:
    stream(20)
    taken = []
    for _ in range(2):
        start = time.process_time()
        assert stream(TOKENS) >= TOKENS
        taken.append(time.process_time() - start)
    return min(taken) / TOKENS * 1e6


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _table(rows: dict[str, dict[str, Any]], steps: int) -> str:
    lines = [
        f"| | version | step 1–{WINDOW}, µs | step {steps - WINDOW + 1}–{steps}, µs | streamed token, µs "
        "| import to first call, s | memory after import / after the run, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        token = "–" if row["token_us"] is None else row["token_us"]
        before, after = row["memory_mb"]
        lines.append(
            f"| {name} | {row['version']} | {row['first_us']:,} | {row['last_us']:,} | {token} "
            f"| {row['first_call_s']} | {before} / {after} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
