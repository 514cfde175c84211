"""What rows do to the world is done once, however often their process dies."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from arriero import (
    ApprovalRequired,
    Artifact,
    FunctionModel,
    Tool,
    ToolError,
    ToolFailed,
    ToolResult,
    ToolSpec,
)
from arriero.agent.cancellation import CancellationToken
from arriero.agent.tasks import Task, TaskError
from arriero.agent.tasks.batch import BatchResult, run_batch
from arriero.agent.tasks.effects import Effect, EffectError, Effects, RowEffects, outlasts
from arriero.agent.tasks.outcomes import Outcome
from arriero.tools import ToolContext
from arriero.tools.python import PythonTool

TASK = Task.parse(
    "name: pay\ninputs: {n: {type: int}}\ntools: [pay]\n"
    "steps:\n  - {id: a, prompt: 'pay {{ inputs.n }}', check: [{tool_called: pay}]}\n"
)


def ask_to_pay(prompt: str) -> str:
    n = prompt.rpartition("pay ")[2].partition("<")[0]
    if "<|start_header_id|>ipython" in prompt:
        return "Paid.<|eot_id|>"
    return f'{{"name": "pay", "parameters": {{"sum": {n}}}}}<|eom_id|>'


class Pay(Tool):
    """Notes every payment; the one of ``bad`` raises after it has paid."""

    spec = ToolSpec(
        name="pay",
        description="Pay.",
        parameters={"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]},
    )

    def __init__(self, bad: int | None = None) -> None:
        self.paid: list[int] = []
        self.bad = bad

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        self.paid.append(arguments["sum"])
        if arguments["sum"] == self.bad:
            raise ToolError("the bank has closed")
        return ToolResult(f"paid {arguments['sum']}", (Artifact("receipt.png", "image/png", b"\x00\xff"),))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(3)))
    return path


def batch(rows: Path, out: Path, pay: Tool, model: Any = ask_to_pay, **options: Any) -> BatchResult:
    return asyncio.run(
        run_batch(TASK, rows, out, FunctionModel(model), tools={"pay": pay}, guards="off", **options)
    )


def contents(out: Path) -> list[str]:
    lines = (out / "results.jsonl").read_text().splitlines()
    return sorted(
        json.loads(line)["result"]["steps"][0]["attempts"][0]["calls"][0]["content"] for line in lines
    )


@pytest.mark.parametrize("bad", [None, 1])
def test_a_row_that_is_run_again_is_given_what_its_calls_have_said(
    rows: Path, tmp_path: Path, bad: int | None
) -> None:
    out, pay = tmp_path / "out", Pay(bad)
    batch(rows, out, pay)
    before = contents(out)
    assert sorted(pay.paid) == [0, 1, 2]
    (out / "results.jsonl").unlink()
    (out / "results.jsonl").touch()
    result = batch(rows, out, pay, resume=True)
    assert (result.missing, sorted(pay.paid), contents(out)) == (0, [0, 1, 2], before)
    assert len(list((out / "artifacts").glob("*/receipt.png"))) == (3 if bad is None else 2)


@pytest.mark.parametrize(
    ("unknown", "statuses", "paid", "said"),
    [
        ("stop", {"ok": 2, "error": 1}, [], "may have taken effect"),
        ("skip", {"ok": 2, "failed": 1}, [], "not known whether pay took effect"),
        ("again", {"ok": 3}, [1], "paid 1"),
    ],
)
def test_a_call_of_which_nobody_knows_is_the_users_to_decide(
    rows: Path, tmp_path: Path, unknown: Any, statuses: dict[str, int], paid: list[int], said: str
) -> None:
    out, pay = tmp_path / "out", Pay()
    batch(rows, out, pay)
    (out / "results.jsonl").write_text("")
    ledger = out / "effects.jsonl"
    begun = [line for line in ledger.read_text().splitlines() if '"sum":1}' in line and "paid" not in line]
    others = [line for line in ledger.read_text().splitlines() if '"sum":1}' not in line]
    ledger.write_text("".join(f"{line}\n" for line in (*others, *begun)))
    pay.paid.clear()
    assert batch(rows, out, pay, resume=True, unknown=unknown).statuses == statuses
    assert pay.paid == paid
    assert said in (out / "report.html").read_text()
    batch(rows, out, pay, resume=True, retry_errors=True, unknown="again")
    assert pay.paid == ([] if unknown == "skip" else [1])


def test_a_row_that_goes_another_way_does_nothing_more(rows: Path, tmp_path: Path) -> None:
    out, pay = tmp_path / "out", Pay()
    batch(rows, out, pay)
    (out / "results.jsonl").write_text("")
    result = batch(
        rows, out, pay, lambda prompt: ask_to_pay(prompt).replace('"sum": 1', '"sum": 11'), resume=True
    )
    assert result.statuses == {"ok": 2, "error": 1}
    assert sorted(pay.paid) == [0, 1, 2]
    assert (
        "pay(sum=11) was not run: an earlier run of this row has called pay(sum=1)"
        in (out / "results.jsonl").read_text()
    )


def test_who_had_a_row_before_can_begin_no_more_calls(tmp_path: Path) -> None:
    async def main() -> None:
        effects = Effects(tmp_path, {"r"})
        call = Effect(row="r", number=1, name="pay", arguments={"sum": 1})
        first = await effects.lease("r")
        second = await effects.lease("r")
        with pytest.raises(EffectError, match="given to another worker"):
            await effects.begin(first, call)
        assert await effects.begin(second, call) is None
        # What the first had under way and ended late is still the truth.
        await effects.end(call.model_copy(update={"outcome": Outcome(content="paid")}))
        third = await effects.lease("r")
        assert await effects.begin(third, call) == Outcome(content="paid")

    asyncio.run(main())


@pytest.mark.parametrize("error", [ToolError("no"), ToolFailed("never"), ValueError("x")])
def test_what_a_tool_has_raised_is_raised_again(tmp_path: Path, error: Exception) -> None:
    class Raising(Pay):
        async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
            self.paid.append(1)
            raise error

    async def main() -> None:
        tool = Raising()
        for _ in range(2):
            effects = Effects(tmp_path, {"r"})
            row = RowEffects(effects, "r", await effects.lease("r"), CancellationToken())
            with pytest.raises((ToolError, ValueError)) as raised:
                await row.around({"pay": tool})["pay"].run({"sum": 1}, ToolContext())
            assert str(raised.value).endswith(str(error))
            assert isinstance(raised.value, ToolFailed) == isinstance(error, ToolFailed)
        assert tool.paid == [1]

    asyncio.run(main())


def test_a_call_that_waited_for_approval_has_done_nothing(tmp_path: Path) -> None:
    class Asking(Pay):
        async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
            if not context.approved:
                raise ApprovalRequired("money")
            return await super().run(arguments, context)

    async def main() -> None:
        tool = Asking()
        effects = Effects(tmp_path, {"r"})
        pay = RowEffects(effects, "r", await effects.lease("r"), CancellationToken()).around({"pay": tool})[
            "pay"
        ]
        with pytest.raises(ApprovalRequired):
            await pay.run({"sum": 1}, ToolContext())
        assert (await pay.run({"sum": 1}, ToolContext(approved=True))).content == "paid 1"
        assert tool.paid == [1]

    asyncio.run(main())


def test_a_ledger_that_is_damaged_lets_nothing_run(rows: Path, tmp_path: Path) -> None:
    out, pay = tmp_path / "out", Pay()
    batch(rows, out, pay)
    with (out / "effects.jsonl").open("ab") as file:
        file.write(b'{"row": "half a line')
    batch(rows, out, pay, resume=True)  # a crash leaves that, before the call has begun
    with (out / "effects.jsonl").open("ab") as file:
        file.write(b"\x00\x00\n")
    with pytest.raises(TaskError, match=r"effects\.jsonl is damaged"):
        batch(rows, out, pay, resume=True)


def test_only_what_outlasts_the_process_is_kept() -> None:
    assert outlasts(Pay())
    assert not outlasts(PythonTool())
    assert outlasts(PythonTool(level="unsafe-none"))


PROGRAM = """
import asyncio, sys
from pathlib import Path
from arriero import FunctionModel, tool
from arriero.agent.tasks import Task
from arriero.agent.tasks.batch import run_batch

out, rows, paid = map(Path, sys.argv[1:4])

@tool
async def pay(sum: int) -> str:
    "Pay."
    with paid.open("a") as file:
        file.write(f"{sum}\\n")
    await asyncio.sleep(0.02)
    return "paid"

def answer(prompt):
    n = prompt.rpartition("pay ")[2].partition("<")[0]
    if "<|start_header_id|>ipython" in prompt:
        return "Paid.<|eot_id|>"
    return f'{{"name": "pay", "parameters": {{"sum": {n}}}}}<|eom_id|>'

task = Task.parse(
    "name: pay\\ninputs: {n: {type: int}}\\ntools: [pay]\\n"
    "steps:\\n  - {id: a, prompt: 'pay {{ inputs.n }}', check: [{tool_called: pay}]}\\n"
)
asyncio.run(run_batch(task, rows, out, FunctionModel(answer), tools={"pay": pay}, jobs=4, resume=True, guards="off"))
"""


def test_killed_while_paying_nothing_is_paid_twice(tmp_path: Path) -> None:
    count = 40
    rows, out, paid = tmp_path / "rows.jsonl", tmp_path / "out", tmp_path / "paid"
    rows.write_text("".join(f'{{"n": {n}}}\n' for n in range(count)))
    program = [sys.executable, "-c", PROGRAM, *map(str, (out, rows, paid))]
    with subprocess.Popen(program) as process:
        deadline = time.monotonic() + 60
        while not paid.exists() or paid.read_bytes().count(b"\n") < 12:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    subprocess.run(program, check=True, timeout=120)
    payments = sorted(map(int, paid.read_text().split()))
    results = [json.loads(line)["result"] for line in (out / "results.jsonl").read_text().splitlines()]
    doubtful = {result["inputs"]["n"] for result in results if result["status"] == "error"}
    assert len(payments) == len(set(payments))
    assert {result["inputs"]["n"] for result in results} == set(range(count))
    assert len(doubtful) <= 4
    assert set(range(count)) - doubtful <= set(payments)
