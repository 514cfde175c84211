"""What a batch of many rows leaves behind when its process is killed again and again, and how large its report is.

    python tests/bench/batch_kills.py [--rows 10000] [--kills 5] [--seed 1]

Runs a task whose rows make a payment with a ``once`` tool and answer, on a scripted model, in a process of its own.
At random moments that process is killed with ``kill -9``, and of the last line of its results only a random part is
left, as a power cut would leave it; then the same command resumes. Payments are counted in a file that the batch
knows nothing of. Holds when every row has exactly one result and every line can be read, no payment was made twice,
every row that is ok was paid for, only rows with a payment in flight at a kill end as errors, a row leaves less than
4 kB in memory, the reports name every row, and a browser (where Chromium is there) shows all of the largest page.
The last line is one JSON object.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

JOBS = 8
TEXT = """\
name: payments
inputs: {n: {type: int}}
tools: [pay]
steps:
  - {id: pay, prompt: "pay {{ inputs.n }}", check: [{tool_called: pay}]}
"""

CHILD = f"""
import asyncio, os, sys, time
from pathlib import Path
from arriero import FunctionModel, tool
from arriero.agent.tasks import Task
from arriero.agent.tasks.batch import run_batch

rows, out, paid = map(Path, sys.argv[1:4])
ledger = os.open(paid, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
ended = []

@tool
async def pay(amount: int) -> str:
    "Pay."
    os.write(ledger, f"{{amount}}\\n".encode())
    await asyncio.sleep(0.005)
    return f"paid {{amount}}"

def answer(prompt):
    model.prompts.clear()  # kept for tests, and nothing that a batch needs
    n = prompt.rpartition("pay ")[2].partition("<")[0]
    if "<|start_header_id|>ipython" in prompt:
        return f"Paid {{n}}.<|eot_id|>"
    return f'{{{{"name": "pay", "parameters": {{{{"amount": {{n}}}}}}}}}}<|eom_id|>'

def on_progress(progress):
    if progress.done == progress.total:
        ended.append(time.monotonic())

task, model = Task.parse({TEXT!r}), FunctionModel(answer)
asyncio.run(run_batch(task, rows, out, model, jobs={JOBS}, tools={{"pay": pay}}, resume=True,
                      on_progress=on_progress))
print(time.monotonic() - ended[-1])
"""


def lines(results: Path) -> int:
    return results.read_bytes().count(b"\n") if results.exists() else 0


def memory(pid: int) -> int:
    """Bytes that the process holds now."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def watched(process: subprocess.Popen[str], results: Path, until: int) -> list[tuple[int, int]]:
    """Rows that are there and bytes that the process holds, while it comes to so many rows."""
    samples, began = list[tuple[int, int]](), lines(results)
    while (done := lines(results)) < until and process.poll() is None:
        if done > began + 200:  # not what it loads first
            samples.append((done, memory(process.pid)))
        time.sleep(0.05)
    return samples


def growth(samples: list[tuple[int, int]]) -> float:
    """Bytes that stay of a row."""
    (few, small), (many, large) = samples[0], samples[-1]
    return (large - small) / max(1, many - few)


def tear(results: Path, chance: random.Random) -> None:
    """Leave a part of the last line only."""
    content = results.read_bytes()
    begin = content[:-1].rfind(b"\n") + 1
    os.truncate(results, chance.randrange(begin + 1, len(content)))


def run_and_kill(
    program: list[str], results: Path, rows: int, kills: int, chance: random.Random
) -> dict[str, float]:
    """Kill it at random moments and resume, until it has ended by itself; what the processes took."""
    started, torn = time.monotonic(), 0
    samples = list[list[tuple[int, int]]]()
    for moment in sorted(chance.randrange(rows // 50, rows - rows // 50) for _ in range(kills)):
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            samples.append(watched(process, results, moment))
            time.sleep(chance.random() / 50)
            process.kill()
        if lines(results):
            tear(results, chance)
            torn += 1
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        samples.append(watched(process, results, rows))
        said, _ = process.communicate()
    assert process.returncode == 0
    longest = max(samples, key=len)
    return {
        "torn": torn,
        "row_bytes": round(growth(longest)) if longest else 0,
        "most_mb": round(max((size for one in samples for _, size in one), default=0) / 1e6),
        "seconds": round(time.monotonic() - started, 1),
        "report_seconds": round(float(said), 1),
    }


def counted(results: Path, paid: Path, rows: int) -> dict[str, int]:
    """Rows and payments, as the files have them."""
    found = [json.loads(line)["result"] for line in results.read_text().splitlines()]
    statuses = {result["inputs"]["n"]: result["status"] for result in found}
    payments = Counter(int(line) for line in paid.read_text().split())
    return {
        "lost": rows - len(statuses),
        "twice": len(found) - len(statuses),
        "paid_twice": sum(count > 1 for count in payments.values()),
        "ok_unpaid": sum(status == "ok" and not payments[n] for n, status in statuses.items()),
        "in_doubt": sum(status == "error" for status in statuses.values()),
        "otherwise": sum(status not in ("ok", "error") for status in statuses.values()),
    }


def reported(out: Path, rows: int) -> dict[str, float | None]:
    """How large the reports are, whether they name every row, and how long a browser takes to show the page."""
    pages = [out / "report.html", *sorted(out.glob("report-*.html"))]
    text = "".join(page.read_text() for page in pages)
    cases = ElementTree.parse(out / "junit.xml").getroot().findall("testcase")
    figures: dict[str, float | None] = {
        "pages": len(pages),
        "page_mb": round(max(page.stat().st_size for page in pages) / 1e6, 1),
        "reported": text.count('<details class="row"'),
        "cases": len(cases),
        "browser_seconds": None,
    }
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser:
        largest = max(pages, key=lambda page: page.stat().st_size)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        began = time.monotonic()
        shown = subprocess.run(
            [browser, *options, largest.as_uri()], capture_output=True, text=True, timeout=600, check=True
        ).stdout
        figures["browser_seconds"] = round(time.monotonic() - began, 1)
        figures["not_shown"] = largest.read_text().count('<details class="row"') - shown.count(
            '<details class="row"'
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="A folder to leave everything in")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(exist_ok=True)
        rows, out, paid = folder / "rows.jsonl", folder / "out", folder / "paid"
        rows.write_text("".join(f'{{"n": {n}}}\n' for n in range(options.rows)))
        program = [sys.executable, "-c", CHILD, *map(str, (rows, out, paid))]
        results = out / "results.jsonl"
        ran = run_and_kill(program, results, options.rows, options.kills, chance)
        count = counted(results, paid, options.rows)
        report = reported(out, options.rows)
        size = results.stat().st_size / 1e6
    print(f"{options.rows} rows, killed {options.kills} times, {ran['torn']} lines torn: {ran['seconds']} s")
    print(f"{count['lost']} rows lost, {count['twice']} there twice, {count['paid_twice']} paid for twice")
    print(f"{count['in_doubt']} had a payment in flight at a kill, and say so")
    print(f"results {size:.1f} MB; {report['pages']} pages, the largest {report['page_mb']} MB")
    wrong = ("lost", "twice", "paid_twice", "ok_unpaid", "otherwise")
    holds = (
        not any(count[name] for name in wrong)
        and count["in_doubt"] <= options.kills * JOBS
        and ran["row_bytes"] < 4000
        and report["reported"] == report["cases"] == options.rows
        and not report.get("not_shown")
    )
    figures = {"rows": options.rows, "kills": options.kills, **ran, **count, **report}
    print(json.dumps({**figures, "results_mb": round(size, 1), "holds": holds}))


if __name__ == "__main__":
    main()
