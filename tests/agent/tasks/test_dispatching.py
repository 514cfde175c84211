"""Rows on machines that are lost, come late, or have another model."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from arriero.agent.cancellation import CancellationToken
from arriero.agent.tasks import Task, TaskError, TaskResult
from arriero.agent.tasks.batch import BatchResult, Plan, carry_out
from arriero.agent.tasks.dispatching import LOSSES, Description, Dispatcher, MachineLost
from arriero.agent.tasks.effects import Effects, Ledger, Unknown
from arriero.agent.tasks.rows import Row
from arriero.agent.tasks.task import TypedInputs
from arriero.agent.tasks.working import Work, Worked

TASK = Task.parse("name: t\ninputs: {n: {type: int}}\nsteps:\n  - {id: a, prompt: 'n={{ inputs.n }}'}\n")
MODEL = Description("m", "weights", "1")


class FakeMachine:
    """Answers with the input; is lost when its fleet says so."""

    def __init__(self, fleet: "FakeFleet", name: str) -> None:
        self.fleet, self.name, self.killed = fleet, name, False
        self.running = 0

    async def open(self) -> Description:
        return self.fleet.opened(self.name)

    async def run(self, row: Row, inputs: TypedInputs, lease: int) -> Worked:
        self.running += 1
        self.fleet.most[self.name] = max(self.fleet.most[self.name], self.running)
        try:
            await asyncio.sleep(0.001)
            if self.killed or self.fleet.loses(self.name, inputs["n"]):
                raise MachineLost("gone")
        finally:
            self.running -= 1
        self.fleet.ran[self.name] += 1
        return Worked(TaskResult(task="t", status="ok", inputs=dict(inputs), output=inputs["n"]))

    def kill(self) -> None:
        self.killed = True


class FakeFleet:
    """``there`` are the machines; ``loses(name, n)`` says whether a row takes its machine down."""

    def __init__(self, *there: str) -> None:
        self.there = set(there)
        self.ran: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.loses: Callable[[str, int], bool] = lambda name, n: False
        self.opened: Callable[[str], Description] = lambda name: MODEL
        self.made: list[FakeMachine] = []

    async def names(self) -> Collection[str]:
        return set(self.there)

    def machine(self, name: str) -> FakeMachine:
        self.made.append(FakeMachine(self, name))
        return self.made[-1]


class Workers:
    most = 64

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.ledger: Ledger

    async def identity(self) -> tuple[str, str]:
        described = await self.dispatcher.description()
        return described.model, described.identity

    def begin(self, folder: Path, rows: Collection[str], unknown: Unknown) -> None:
        self.ledger = Effects(folder, rows, unknown)

    async def run(self, row: Row) -> Worked:
        return await self.dispatcher.run(row, self.ledger.lease)


def dispatch(
    fleet: FakeFleet, tmp_path: Path, *, token: CancellationToken | None = None, **options: Any
) -> tuple[BatchResult, list[str]]:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"n": {n}}}\n' for n in range(30)))
    notices: list[str] = []
    cancel = token or CancellationToken()

    async def main() -> BatchResult:
        dispatcher = Dispatcher(
            TASK, fleet, 2, cancel, on_notice=notices.append, **{"patience": 0.3, **options}
        )
        async with dispatcher.running():
            plan = Plan(rows, tmp_path / "out", resume=True)
            return await carry_out(Work(TASK, TASK.sampling()), plan, Workers(dispatcher), cancel)

    result = asyncio.run(main())
    assert all(machine.killed for machine in fleet.made)
    return result, notices


def test_every_machine_has_its_rows_at_a_time(tmp_path: Path) -> None:
    fleet = FakeFleet("a", "b")
    result, notices = dispatch(fleet, tmp_path)
    assert (result.statuses, result.missing, notices) == ({"ok": 30}, 0, [])
    assert set(fleet.ran) == {"a", "b"}
    assert fleet.most == {"a": 2, "b": 2}


def test_rows_of_a_lost_machine_are_done_by_others(tmp_path: Path) -> None:
    fleet = FakeFleet("a", "b")

    def loses(name: str, n: int) -> bool:
        if name == "a" and n >= 10:
            fleet.there.discard("a")
            return True
        return False

    fleet.loses = loses
    result, notices = dispatch(fleet, tmp_path)
    assert (result.statuses, result.missing) == ({"ok": 30}, 0)
    assert notices == ["lost a: gone; its rows are done again elsewhere"]


def test_a_row_that_takes_every_machine_down_ends(tmp_path: Path) -> None:
    fleet = FakeFleet(*"abcdef")
    fleet.loses = lambda name, n: n == 7
    result, notices = dispatch(fleet, tmp_path)
    assert result.statuses["error"] >= 1
    assert result.statuses["ok"] + result.statuses["error"] == 30
    assert len(notices) >= LOSSES
    assert "machines were lost while they ran this row" in (tmp_path / "out" / "results.jsonl").read_text()


def test_machines_with_another_model_are_not_used(tmp_path: Path) -> None:
    fleet = FakeFleet("a", "b", "c")

    def opened(name: str) -> Description:
        if name == "c":
            raise TaskError("no model file")
        return MODEL if name == min(fleet.there) else Description("other", "x", "1")

    fleet.opened = opened
    result, notices = dispatch(fleet, tmp_path)
    assert result.missing == 0
    assert len(fleet.ran) == 1
    assert any("cannot use c: no model file" in notice for notice in notices)
    assert any("the first machine has" in notice for notice in notices)


@pytest.mark.parametrize("why", ["the file is not there", ""])
def test_without_machines_it_ends_with_what_is_wrong(tmp_path: Path, why: str) -> None:
    fleet = FakeFleet("a") if why else FakeFleet()

    def opened(name: str) -> Description:
        raise TaskError(why)

    fleet.opened = opened
    with pytest.raises(TaskError, match=f"nobody is left to work on rows: {why or 'no machine'}"):
        dispatch(fleet, tmp_path)


def test_when_the_last_machine_is_lost_what_is_done_stays(tmp_path: Path) -> None:
    fleet = FakeFleet("a")

    def loses(name: str, n: int) -> bool:
        if n >= 10:
            fleet.there.clear()
        return n >= 10

    fleet.loses = loses
    with pytest.raises(TaskError, match="--resume does the rest"):
        dispatch(fleet, tmp_path)
    done = (tmp_path / "out" / "results.jsonl").read_text().count("\n")
    assert done >= 9
    fleet.there, fleet.loses = {"b"}, lambda name, n: False
    result, _ = dispatch(fleet, tmp_path)
    assert (result.statuses, fleet.ran["b"]) == ({"ok": 30}, 30 - done)


def test_stopping_leaves_the_rest_for_later(tmp_path: Path) -> None:
    fleet, token = FakeFleet("a"), CancellationToken()

    def loses(name: str, n: int) -> bool:
        if n == 12:
            token.cancel()
        return False

    fleet.loses = loses
    result, _ = dispatch(fleet, tmp_path, token=token)
    assert 0 < result.missing < 30


def test_a_row_with_bad_inputs_needs_no_machine(tmp_path: Path) -> None:
    async def main() -> Worked:
        dispatcher = Dispatcher(TASK, FakeFleet(), 1, CancellationToken())
        return await dispatcher.run(Row(1, "1", {"n": "x"}, "k"), Effects(tmp_path, {"k"}).lease)

    assert "must be a whole number" in str(asyncio.run(main()).result.error)
