"""Many rows through one task: several at a time on one model, each finished one kept for good."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from arriero.safety.pipeline import Pipeline
from arriero.safety.policy import Policy

from ..backends import Model, Sampling
from ..cancellation import CancellationToken
from ..guard_models import pipeline
from .effects import Effects, Ledger, Unknown
from .errors import TaskError
from .records import Done, Record, Records
from .report import write_html, write_junit
from .results import Status
from .rows import Row, read_rows
from .task import Task, Tools, as_tools
from .working import Work, Worked, Workplace, identity_of, work_on

_AGAIN: frozenset[Status] = frozenset({"error", "limit"})


@dataclass(slots=True)
class Progress:
    """How far a batch is: rows that are done (``before`` of them by an earlier run), and at what pace."""

    total: int
    done: int = 0
    before: int = 0
    failed: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Rows a minute in this run; 0 before the first."""
        seconds = time.monotonic() - self.started
        return (self.done - self.before) / seconds * 60 if self.done > self.before else 0.0

    @property
    def minutes_left(self) -> float | None:
        """None as long as there is no telling."""
        return (self.total - self.done) / self.rate if self.rate else None


@dataclass(frozen=True, slots=True)
class BatchResult:
    """A batch that has ended: how many rows have which status, and how many have none yet."""

    total: int
    statuses: Mapping[str, int]
    missing: int
    ignored_lines: int
    folder: Path


class Workers(Protocol):
    """Who works on rows: this process, or machines. ``most`` rows are given to them at a time."""

    most: int

    async def identity(self) -> tuple[str, str]:
        """The model's name, and what tells it from others."""
        ...

    def begin(self, folder: Path, rows: Collection[str], unknown: Unknown) -> None:
        """The rows that will be given, by key, and where their effects are kept."""
        ...

    async def run(self, row: Row) -> Worked:
        """Work on a row; a status of ``cancelled`` means that it is still to be done."""
        ...


class Here:
    """Rows are worked on in this process, by one model that decodes them together."""

    def __init__(self, work: Work, place: Workplace, jobs: int, cancel: CancellationToken) -> None:
        self.most = jobs
        self._work, self._place, self._cancel = work, place, cancel
        self._ledger: Ledger

    async def identity(self) -> tuple[str, str]:
        return self._place.model.name, identity_of(self._place.model)

    def begin(self, folder: Path, rows: Collection[str], unknown: Unknown) -> None:
        self._ledger = Effects(folder, rows, unknown)

    async def run(self, row: Row) -> Worked:
        lease = await self._ledger.lease(row.key)
        return await work_on(row, self._work, self._place, self._ledger, lease, self._cancel)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a batch does: the rows, where results go, and what becomes of what an earlier run has left."""

    rows: Path
    folder: Path
    resume: bool = False
    retry_errors: bool = False
    unknown: Unknown = "stop"
    on_progress: Callable[[Progress], None] = lambda progress: None


async def run_batch(
    task: Task,
    rows: Path,
    folder: Path,
    model: Model,
    *,
    jobs: int = 1,
    resume: bool = False,
    retry_errors: bool = False,
    unknown: Unknown = "stop",
    tools: Tools | None = None,
    judge: Model | None = None,
    sampling: Sampling | None = None,
    guards: Pipeline | Policy | str | None = "default",
    cancel: CancellationToken | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> BatchResult:
    """Run the task for every row of a file, ``jobs`` at a time, and leave results and reports in ``folder``.

    The model decodes as many rows together as it was loaded for. With ``resume`` rows that are done are not done
    again (``retry_errors``: except those that ended with an error or at a limit); results of another task, model
    or sampling are refused. A row that was in flight when a process died is run again from its start, without
    repeating calls whose effect is ``once``; ``unknown`` says what becomes of one that was in flight. Cancelling
    keeps what is done. Raises TaskError for things that concern all rows; what is wrong with one row is its result.
    """
    token = CancellationToken(cancel)
    screens = guards if isinstance(guards, Pipeline) else pipeline(guards or "off")
    work = Work(task, sampling or task.sampling())
    plan = Plan(rows, folder, resume, retry_errors, unknown, on_progress)
    here = Here(work, Workplace(model, as_tools(tools or {}), screens, judge), jobs, token)
    try:
        return await carry_out(work, plan, here, token)
    finally:
        token.detach()
        if not isinstance(guards, Pipeline):
            await screens.aclose()


async def carry_out(work: Work, plan: Plan, workers: Workers, cancel: CancellationToken) -> BatchResult:
    """Have workers do what is left of a plan, and write the reports. Raises TaskError."""
    name, identity = await workers.identity()
    records = Records(plan.folder)
    manifest = _manifest(work, name, identity)
    rows = read_rows(plan.rows, set(work.task.inputs), f"{work.task.digest}{identity}{work.sampling.seed}")
    with records.held():
        records.begin({**manifest, "rows": len(rows), "file": plan.rows.name}, resume=plan.resume)
        records.mend()
        done = records.done()
        again = _AGAIN if plan.retry_errors else frozenset[Status]()
        left = [row for row in rows if row.key not in done or done[row.key].status in again]
        workers.begin(plan.folder, {row.key for row in left}, plan.unknown)
        progress = Progress(len(rows), done=len(rows) - len(left), before=len(rows) - len(left))
        plan.on_progress(progress)

        async def one(row: Row) -> None:
            worked = await workers.run(row)
            if worked.result.status == "cancelled":
                return
            record = Record(key=row.key, row=row.number, label=row.label, result=worked.result)
            records.append(record, worked.artifacts)
            progress.done += 1
            progress.failed += worked.result.status != "ok"
            plan.on_progress(progress)

        await _several(left, one, workers.most, cancel)
        return _ended(work.task, records, rows)


async def _several(rows: list[Row], one: Callable[[Row], Any], most: int, cancel: CancellationToken) -> None:
    waiting = iter(rows)

    async def worker() -> None:
        for row in waiting:
            if cancel.reason is not None:
                return
            try:
                await one(row)
            except TaskError:
                # It concerns all rows: those that are under way end early, and come to the same.
                cancel.cancel()
                raise

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, min(most, len(rows)))):
                group.create_task(worker())
    except* TaskError as errors:
        raise errors.exceptions[0] from None


def _ended(task: Task, records: Records, rows: list[Row]) -> BatchResult:
    done = records.done()
    found: list[Done] = [done[row.key] for row in rows if row.key in done]
    statuses = Counter[str](row.status for row in found)
    missing = len(rows) - len(found)
    write_html(task, records, found, missing)
    write_junit(task, records, found, missing)
    return BatchResult(len(rows), dict(statuses), missing, records.ignored, records.folder)


def _manifest(work: Work, model: str, identity: str) -> dict[str, Any]:
    return {
        "version": 1,
        "task": work.task.name,
        "digest": work.task.digest,
        "model": model,
        "model_digest": identity,
        "sampling": asdict(work.sampling),
        "tools": list(work.task.tools),
        "arriero": own_version(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def own_version() -> str:
    """The version of arriero that is installed here."""
    try:
        return version("arriero")
    except PackageNotFoundError:
        return "unknown"
