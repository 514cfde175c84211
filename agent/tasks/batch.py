"""Many rows through one task: several at a time on one model, each finished one kept for good."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from arriero.safety.pipeline import Pipeline
from arriero.safety.policy import Policy

from ..backends import Model, Sampling
from ..cancellation import CancellationToken
from ..events import ToolCallFinished
from ..guard_models import pipeline
from .errors import TaskError
from .records import Record, Records
from .report import write_html, write_junit
from .results import TaskEnded, TaskResult
from .rows import Row, read_rows
from .task import Task, Tools

_SAMPLE = 1 << 20  # bytes of a model file's head and tail that stand for the whole


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


async def run_batch(
    task: Task,
    rows: Path,
    folder: Path,
    model: Model,
    *,
    jobs: int = 1,
    resume: bool = False,
    retry_errors: bool = False,
    tools: Tools | None = None,
    sampling: Sampling | None = None,
    guards: Pipeline | Policy | str | None = "default",
    cancel: CancellationToken | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> BatchResult:
    """Run the task for every row of a file, ``jobs`` at a time, and leave results and reports in ``folder``.

    The model decodes as many rows together as it was loaded for. With ``resume`` rows that are done are not done
    again (``retry_errors``: except those that ended with an error or at a limit); results of another task, model
    or sampling are refused. A row that was in flight when a process died is run again from its start. Cancelling
    keeps what is done. Raises TaskError for things that concern all rows; what is wrong with one row is its result.
    """
    chosen = sampling or task.sampling()
    manifest = _manifest(task, model, chosen)
    todo = read_rows(rows, set(task.inputs), f"{task.digest}{manifest['model_digest']}{chosen.seed}")
    records = Records(folder)
    token = CancellationToken(cancel)
    screens = guards if isinstance(guards, Pipeline) else pipeline(guards or "off")
    with records.held():
        records.begin({**manifest, "rows": len(todo), "file": rows.name}, resume=resume)
        records.mend()
        done = records.read()
        ended = {"error", "limit"} if retry_errors else set()
        left = [row for row in todo if row.key not in done or done[row.key].result.status in ended]
        progress = Progress(len(todo), done=len(todo) - len(left), before=len(todo) - len(left))
        on_progress(progress)

        async def work(row: Row) -> None:
            result = await _run_row(task, row, model, records, token, tools, chosen, screens)
            if result.status == "cancelled":
                return
            records.append(Record(key=row.key, row=row.number, label=row.label, result=result))
            progress.done += 1
            progress.failed += result.status != "ok"
            on_progress(progress)

        try:
            await _several(left, work, jobs, token)
        finally:
            token.detach()
            if not isinstance(guards, Pipeline):
                await screens.aclose()
        return _ended(task, records, todo)


async def _several(rows: list[Row], work: Callable[[Row], Any], jobs: int, token: CancellationToken) -> None:
    waiting = iter(rows)

    async def worker() -> None:
        for row in waiting:
            if token.reason is not None:
                return
            await work(row)

    async with asyncio.TaskGroup() as group:
        for _ in range(max(1, min(jobs, len(rows)))):
            group.create_task(worker())


async def _run_row(
    task: Task,
    row: Row,
    model: Model,
    records: Records,
    token: CancellationToken,
    tools: Tools | None,
    sampling: Sampling,
    guards: Pipeline,
) -> TaskResult:
    try:
        async with aclosing(
            task.stream(model, row.inputs, tools=tools, sampling=sampling, guards=guards, cancel=token)
        ) as events:
            async for event in events:
                if isinstance(event, ToolCallFinished):
                    for artifact in event.artifacts:
                        records.keep_artifact(row.key, artifact.name, artifact.data)
                if isinstance(event, TaskEnded):
                    return event.result
    except TaskError as error:
        return TaskResult(task=task.name, status="error", inputs=row.inputs, error=str(error))
    raise AssertionError("a task always ends with TaskEnded")


def _ended(task: Task, records: Records, rows: list[Row]) -> BatchResult:
    done = records.read()
    found = [done[row.key] for row in rows if row.key in done]
    statuses: dict[str, int] = {}
    for record in found:
        statuses[record.result.status] = statuses.get(record.result.status, 0) + 1
    missing = len(rows) - len(found)
    write_html(task, records.folder, found, missing)
    write_junit(task, records.folder, found, missing)
    return BatchResult(len(rows), statuses, missing, records.ignored, records.folder)


def _manifest(task: Task, model: Model, sampling: Sampling) -> dict[str, Any]:
    return {
        "version": 1,
        "task": task.name,
        "digest": task.digest,
        "model": model.name,
        "model_digest": model_digest(model),
        "sampling": asdict(sampling),
        "tools": list(task.tools),
        "arriero": _own_version(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def model_digest(model: Model) -> str:
    """What tells one model from another: of a file its size and the SHA-256 of its first and last megabyte (to
    read all of it would take minutes), of a server its kind and address.
    """
    info = getattr(model, "info", None)
    path = getattr(info, "path", None)
    if isinstance(path, Path):
        with path.open("rb") as file:
            head = file.read(_SAMPLE)
            size = file.seek(0, 2)
            file.seek(max(0, size - _SAMPLE))
            return f"{size}-{hashlib.sha256(head + file.read(_SAMPLE)).hexdigest()[:16]}"
    wire = getattr(model, "wire", None)
    return f"{getattr(model, 'kind', type(model).__name__)} {getattr(wire, 'base', '')}".strip()


def _own_version() -> str:
    try:
        return version("arriero")
    except PackageNotFoundError:
        return "unknown"
