"""Whether a batch on a Ray cluster comes to the same as on one machine, when a machine is lost in the middle.

    python tests/bench/cluster.py [--rows 30] [--nodes 3]

Starts a cluster of several raylets on this machine, one CPU each, and runs rows on it with a tool whose effect is
``once``; when a third of them is done, one raylet and everything on it is killed. Then the same rows on one machine.
Holds when every row has one result, results are the same set, and no payment was made twice. Needs the extra ``ray``.
The last line is one JSON object.
"""

import argparse
import asyncio
import json
import logging
import os
import socket
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from arriero import FunctionModel, Tool, tool
from arriero.agent.tasks import Task
from arriero.agent.tasks.batch import Plan, Progress, run_batch
from arriero.agent.tasks.working import Workplace

TEXT = """\
name: cluster
inputs: {n: {type: int}}
tools: [pay]
steps:
  - {id: pay, prompt: "pay {{ inputs.n }}", check: [{tool_called: pay}]}
"""
# A machine that has much else to do is slow to start raylets; one that is slow is not lost.
for _name in ("worker_register_timeout_seconds", "raylet_start_wait_time_s"):
    os.environ.setdefault(f"RAY_{_name}", "300")
STORE = 80 << 20  # bytes of each raylet's object store


def paying(paid: Path) -> dict[str, Tool]:
    @tool
    async def pay(amount: int) -> str:
        """Pay."""
        with paid.open("a") as file:  # one machine, so one file for all
            file.write(f"{amount}\n")
        await asyncio.sleep(0.1)
        return f"paid {amount}"

    return {"pay": pay}


def answer(prompt: str) -> str:
    n = prompt.rpartition("pay ")[2].partition("<")[0]
    if "<|start_header_id|>ipython" in prompt:
        return f"Paid {n}.<|eot_id|>"
    return f'{{"name": "pay", "parameters": {{"amount": {n}}}}}<|eom_id|>'


async def slowly(prompt: str) -> str:
    await asyncio.sleep(0.2)
    return answer(prompt)


def place(paid: Path) -> Workplace:
    """Runs on every machine."""
    return Workplace(FunctionModel(slowly), paying(paid), "off")


def raylet() -> dict[str, int]:
    """What a raylet is started with. One that is told its agents' ports does not wait for agents to say them,
    which takes longer than it has on a busy machine.
    """
    agents = (
        "metrics_agent_port",
        "metrics_export_port",
        "dashboard_agent_listen_port",
        "runtime_env_agent_port",
    )
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in agents]
        ports = dict(zip(agents, (one.getsockname()[1] for one in taken), strict=True))
    return {"num_cpus": 1, "object_store_memory": STORE, **ports}


def on_the_cluster(task: Task, rows: Path, folder: Path, nodes: int) -> dict[str, Any]:
    """The batch on raylets of which one is killed; where rows ran, and how long a loss took to be seen."""
    import ray
    from ray.cluster_utils import Cluster as Raylets

    from arriero.agent.tasks.cluster import Cluster, run_on_ray

    raylets = Raylets()
    added = [raylets.add_node(**raylet()) for _ in range(nodes)]
    others = added[1:]
    ray.init(address=raylets.address, log_to_driver=False, logging_level=logging.ERROR)
    notices: list[str] = []
    killed = 0.0

    def on_progress(progress: Progress) -> None:
        nonlocal killed
        if others and progress.done >= progress.total // 3 and not killed:
            killed = time.monotonic()
            raylets.remove_node(others.pop(), allow_graceful=False)

    try:
        plan = Plan(rows, folder / "cluster", on_progress=on_progress)
        opening = partial(place, folder / "paid-cluster")
        started = time.monotonic()
        result = asyncio.run(run_on_ray(task, plan, opening, Cluster(jobs=2), on_notice=notices.append))
        print(
            f"{result.total} rows on {nodes} raylets: {dict(result.statuses)}; {time.monotonic() - started:.0f} s"
        )
        for notice in notices:
            print(f"  {notice}")
    finally:
        ray.shutdown()
        raylets.shutdown()
    return {"lost_nodes": sum(notice.startswith("lost") for notice in notices), "missing": result.missing}


def outputs(folder: Path) -> dict[int, Any]:
    """The output of each row that is ok, and its error where it is not."""
    lines = (json.loads(line)["result"] for line in (folder / "results.jsonl").read_text().splitlines())
    return {one["inputs"]["n"]: one["output"] if one["status"] == "ok" else None for one in lines}


def twice(paid: Path) -> int:
    return sum(count > 1 for count in Counter(paid.read_text().split()).values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--nodes", type=int, default=3)
    options = parser.parse_args()
    task = Task.parse(TEXT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.jsonl"
        rows.write_text("".join(f'{{"n": {n}}}\n' for n in range(options.rows)))
        figures = on_the_cluster(task, rows, folder, options.nodes)
        asyncio.run(
            run_batch(
                task,
                rows,
                folder / "here",
                FunctionModel(slowly),
                jobs=8,
                tools=paying(folder / "paid-here"),
                guards="off",
            )
        )
        here, cluster = outputs(folder / "here"), outputs(folder / "cluster")
        doubtful = sorted(n for n, output in cluster.items() if output is None)
        figures |= {
            "rows": len(cluster),
            "different": sum(cluster[n] != here[n] for n in here if n not in doubtful),
            "in_doubt": len(doubtful),
            "paid_twice": twice(folder / "paid-cluster"),
        }
    print(f"{figures['in_doubt']} rows had a payment in flight when their machine was lost, and say so")
    holds = (
        figures["missing"] == 0
        and figures["rows"] == options.rows
        and figures["different"] == 0
        and figures["paid_twice"] == 0
        and figures["lost_nodes"] == 1
        and figures["in_doubt"] <= 2
    )
    print(json.dumps({**figures, "holds": holds}))


if __name__ == "__main__":
    main()
