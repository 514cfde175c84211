"""``arriero batch``: a task for every row of a file, on this machine or on a Ray cluster."""

import sys
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click

from .options import CONTEXT, with_options
from .task_commands import FILE, JUDGE, do, exit_of, judge_named, load_judge, loaded, with_defaults
from .terminal import neutral

if TYPE_CHECKING:
    from arriero.agent.cancellation import CancellationToken
    from arriero.agent.tasks.batch import BatchResult, Plan, Progress
    from arriero.agent.tasks.cluster import Cluster
    from arriero.agent.tasks.effects import Unknown
    from arriero.agent.tasks.task import Task
    from arriero.agent.tasks.working import Workplace

    from .exits import Exit
    from .runner import Runner
    from .settings import Settings


@click.command(context_settings=CONTEXT)
@click.argument("task", type=FILE)
@click.argument("rows", type=FILE)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for results.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Rows at a time; with ray, on each machine.",
)
@click.option("--resume", is_flag=True, help="Go on with what is in the folder.")
@click.option(
    "--retry-errors", is_flag=True, help="With --resume: run rows again that ended in an error or limit."
)
@click.option(
    "--unknown",
    type=click.Choice(["stop", "again", "skip"]),
    default="stop",
    show_default=True,
    help="A call that must happen once and was in flight in a crash: end the row, run it again, or tell the model.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where rows run: in this process, or on every machine of a Ray cluster.",
)
@click.option(
    "--ray-address",
    default="auto",
    show_default=True,
    metavar="ADDRESS",
    help="The cluster; as for ray.init.",
)
@click.option(
    "--node-gpus",
    type=click.FloatRange(0),
    default=0,
    metavar="N",
    help="GPUs that the process on each machine gets, for models loaded there.",
)
@JUDGE
@with_options
def batch(
    task: Path,
    rows: Path,
    folder: Path,
    jobs: int,
    resume: bool,
    retry_errors: bool,
    unknown: str,
    engine: str,
    ray_address: str,
    node_gpus: float,
    judge: str | None,
    **options: Any,
) -> None:
    """Run a task for every row of a file (JSON lines, a JSON list, or CSV).

    \b
    arriero batch examples/tasks/product.yaml rows.jsonl --out out -j 8
    arriero batch examples/tasks/product.yaml rows.jsonl --out out -j 8 --resume
    arriero batch examples/tasks/product.yaml rows.jsonl --out out -j 8 --engine ray -m http://10.0.0.5:8000

    The folder gets manifest.json, results.jsonl (one line for each row that is done), report.html and junit.xml.
    After Ctrl-C or a crash, --resume does the rest.
    """

    def work(settings: "Settings") -> "Exit":
        from arriero.agent.tasks.batch import Plan
        from arriero.agent.tasks.cluster import Cluster

        found = loaded(task)
        plan = Plan(rows, folder, resume, retry_errors, cast("Unknown", unknown))
        cluster = Cluster(ray_address, jobs, gpus=node_gpus) if engine == "ray" else None
        chosen = with_defaults(settings, found, jobs)
        return _batch(found, plan, jobs, cluster, chosen, judge_named(found, judge))

    do(options, work)


COMMANDS: Final = (batch,)


def _batch(
    task: "Task",
    plan: "Plan",
    jobs: int,
    cluster: "Cluster | None",
    settings: "Settings",
    judge: str | None,
) -> "Exit":
    from .exits import Exit
    from .terminal import Terminal

    terminal = Terminal.detect(sys.stderr, plain=settings.plain)
    shown = _ProgressLine(sys.stderr, live=terminal.interactive, quiet=settings.quiet)
    plan = replace(plan, on_progress=shown)
    result = (
        _here(task, plan, jobs, settings, judge)
        if cluster is None
        else _on_ray(task, plan, cluster, settings, judge, shown)
    )
    if result is None:
        return Exit.FAILED
    shown.end()
    _tell(result)
    if result.missing:
        click.echo(
            f"{result.missing} rows have not run; the same command with --resume does the rest", err=True
        )
        return Exit.INTERRUPTED
    return exit_of(result.statuses)


def _here(
    task: "Task", plan: "Plan", jobs: int, settings: "Settings", judge: str | None
) -> "BatchResult | None":
    from arriero.agent.tasks.batch import run_batch

    from .oneshot import opened
    from .session import sampling
    from .terminal import Terminal

    with opened(settings, Terminal.detect(sys.stderr, plain=settings.plain)) as session:
        judging = load_judge(settings, judge)

        async def ended(token: "CancellationToken") -> AsyncGenerator[Any, None]:
            yield await run_batch(
                task,
                plan.rows,
                plan.folder,
                session.model,
                jobs=jobs,
                resume=plan.resume,
                retry_errors=plan.retry_errors,
                unknown=plan.unknown,
                tools=session.tools,
                judge=judging,
                sampling=sampling(settings),
                guards=session.guards,
                cancel=token,
                on_progress=plan.on_progress,
            )

        try:
            return _last(session.runner, ended)
        finally:
            if judging is not None:
                session.runner.call(judging.aclose())


def _on_ray(
    task: "Task",
    plan: "Plan",
    cluster: "Cluster",
    settings: "Settings",
    judge: str | None,
    shown: "_ProgressLine",
) -> "BatchResult | None":
    from arriero.agent.tasks.cluster import run_on_ray

    from .runner import Runner
    from .session import sampling

    async def ended(token: "CancellationToken") -> AsyncGenerator[Any, None]:
        yield await run_on_ray(
            task,
            plan,
            partial(place_of, settings, judge),
            cluster,
            sampling=sampling(settings),
            cancel=token,
            on_notice=shown.say,
        )

    with closing(Runner()) as runner:
        return _last(runner, ended)


def place_of(settings: "Settings", judge: str | None = None) -> "Workplace":
    """Model, tools and screens as the settings say, opened on a machine of the cluster. Raises ArrieroError."""
    from arriero.agent.guard_models import pipeline
    from arriero.agent.tasks.working import Workplace

    from .session import load_model
    from .toolbox import Toolbox

    tools = Toolbox(settings).make_all()
    return Workplace(load_model(settings), tools, pipeline(settings.safety), load_judge(settings, judge))


def _last(runner: "Runner", ended: Any) -> "BatchResult | None":
    result: Any = None
    with closing(runner.stream(ended)) as told:
        for one in told:
            result = one or result
    return cast("BatchResult | None", result)


def _tell(result: "BatchResult") -> None:
    counts = (
        ", ".join(f"{count} {status}" for status, count in sorted(result.statuses.items())) or "nothing done"
    )
    click.echo(f"{result.total} rows: {counts}")
    if result.ignored_lines:
        click.echo(
            f"{result.ignored_lines} lines of the results could not be read and were left out", err=True
        )
    click.echo(f"report: {neutral(str(result.folder / 'report.html'))}")


class _ProgressLine:
    """Rows done, pace and time left: one line rewritten on a terminal, else a line now and then."""

    def __init__(self, stream: Any, *, live: bool, quiet: bool) -> None:
        import time

        self._stream, self._live, self._quiet = stream, live, quiet
        self._clock = time.monotonic
        self._last = float("-inf")

    def __call__(self, progress: "Progress") -> None:
        now = self._clock()
        whole = progress.done == progress.total
        if self._quiet or (now - self._last < (0.2 if self._live else 10.0) and not whole):
            return
        self._last = now
        left = progress.minutes_left
        pace = f", {progress.rate:.1f} a minute" if progress.rate else ""
        time_left = f", {left:.0f} minutes left" if left is not None and left >= 1 else ""
        failed = f", {progress.failed} not ok" if progress.failed else ""
        line = f"{progress.done}/{progress.total} rows{failed}{pace}{time_left}"
        self._stream.write(f"\r\x1b[K{line}" if self._live else f"{line}\n")
        self._stream.flush()

    def say(self, line: str) -> None:
        """A line of its own, above the progress."""
        if not self._quiet:
            self.end()
            self._stream.write(f"{neutral(line)}\n")
            self._stream.flush()

    def end(self) -> None:
        """Clear the line."""
        if self._live and not self._quiet:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
