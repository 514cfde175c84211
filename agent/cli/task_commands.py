"""``arriero run``, ``batch``, ``validate`` and ``schema``: scripted tasks from the command line."""

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from .options import CONTEXT, with_options
from .terminal import neutral

if TYPE_CHECKING:
    from arriero.agent.cancellation import CancellationToken
    from arriero.agent.tasks.batch import BatchResult, Progress
    from arriero.agent.tasks.results import StepResult, TaskResult
    from arriero.agent.tasks.task import Task

    from .exits import Exit
    from .settings import Settings

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_SCHEMAS: Final = ("task",)


@click.command(context_settings=CONTEXT)
@click.argument("task", type=_FILE)
@click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="An input (repeatable).")
@click.option("--dry-run", is_flag=True, help="Print every prompt and run nothing.")
@click.option(
    "--json", is_flag=True, help="Events on stdout, one JSON object a line; the last is task_ended."
)
@with_options
def run(task: Path, inputs: tuple[str, ...], dry_run: bool, **options: Any) -> None:
    """Run a task file; its output is printed at the end.

    \b
    arriero run examples/tasks/add.yaml -i first=23 -i second=47

    Exit codes: 0 all checks held, 1 failed, 2 the file is wrong, 3 a check failed, 4 a limit, 5 blocked.
    """

    def work(settings: "Settings") -> "Exit":
        from .exits import Exit

        loaded = _loaded(task)
        given = _pairs(inputs)
        if dry_run:
            for name, prompt in loaded.prompts(given).items():
                click.echo(f"--- {name}\n{neutral(prompt)}")
            return Exit.OK
        return _run(loaded, given, _with_defaults(settings, loaded))

    _do(options, work)


@click.command(context_settings=CONTEXT)
@click.argument("task", type=_FILE)
@click.argument("rows", type=_FILE)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for results.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Rows at a time."
)
@click.option("--resume", is_flag=True, help="Go on with what is in the folder.")
@click.option(
    "--retry-errors", is_flag=True, help="With --resume: run rows again that ended in an error or limit."
)
@with_options
def batch(
    task: Path, rows: Path, folder: Path, jobs: int, resume: bool, retry_errors: bool, **options: Any
) -> None:
    """Run a task for every row of a file (JSON lines, a JSON list, or CSV).

    \b
    arriero batch examples/tasks/add.yaml rows.jsonl --out out -j 8
    arriero batch examples/tasks/add.yaml rows.jsonl --out out -j 8 --resume

    The folder gets manifest.json, results.jsonl (one line for each row that is done), report.html and junit.xml.
    After Ctrl-C or a crash, --resume does the rest.
    """

    def work(settings: "Settings") -> "Exit":
        loaded = _loaded(task)
        how = {"jobs": jobs, "resume": resume, "retry_errors": retry_errors}
        return _batch(loaded, rows, folder, _with_defaults(settings, loaded, jobs), how)

    _do(options, work)


@click.command(context_settings=CONTEXT)
@click.argument("tasks", type=_FILE, nargs=-1, required=True)
def validate(tasks: tuple[Path, ...]) -> None:
    """Check task files without running them; what is wrong is told with file and line."""
    from arriero.agent.tasks import TaskError

    from .exits import Exit

    wrong = False
    for path in tasks:
        try:
            task = _loaded(path)
        except TaskError as error:
            wrong = True
            click.echo(neutral(str(error)), err=True)
        else:
            click.echo(f"{path}: {task.name}, {len(task.steps)} steps")
    click.get_current_context().exit(Exit.USAGE if wrong else Exit.OK)


@click.command(context_settings=CONTEXT)
@click.argument("what", type=click.Choice(_SCHEMAS), default="task")
def schema(what: str) -> None:
    """Print the JSON schema of task files, for editors."""
    from arriero.agent.tasks.published import schema_text

    click.echo(schema_text(), nl=False)


COMMANDS: Final = (run, batch, validate, schema)


def _do(options: dict[str, Any], work: Callable[["Settings"], "Exit"]) -> None:
    from arriero.agent.tasks import TaskError
    from arriero.prompts import ArrieroError

    from .exits import Exit, NotReady
    from .invocation import finish, settings_of

    settings = settings_of(options)

    def reporting() -> int:
        from arriero.agent.backends import ModelError

        try:
            return int(work(settings))
        except TaskError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {neutral(line)}", err=True)
            return Exit.USAGE
        except ArrieroError as error:
            click.echo(f"error: {neutral(str(error))}", err=True)
            return Exit.NOT_READY if isinstance(error, (NotReady, ModelError)) else Exit.FAILED

    finish(reporting, debug=settings.debug)


def _loaded(path: Path) -> "Task":
    from arriero.agent.tasks import Task

    return Task.load(path)


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not of the form NAME=VALUE", param_hint="--input")
        pairs[name] = value
    return pairs


def _with_defaults(settings: "Settings", task: "Task", jobs: int = 1) -> "Settings":
    """The settings as the task wants them, where the user has not said otherwise."""
    from dataclasses import replace

    source = click.get_current_context().get_parameter_source("model")
    wanted = task.defaults
    chosen = (
        settings.model if source not in (None, ParameterSource.DEFAULT) else wanted.model or settings.model
    )
    return replace(
        settings,
        model=chosen,
        tools=tuple(task.tools),
        temperature=wanted.temperature if settings.temperature is None else settings.temperature,
        top_p=wanted.top_p if settings.top_p is None else settings.top_p,
        seed=wanted.seed if settings.seed is None else settings.seed,
        parallel=jobs,
    )


def _run(task: "Task", given: dict[str, str], settings: "Settings") -> "Exit":
    from arriero.agent.tasks.results import StepBegan, StepEnded, TaskEnded

    from .exits import Exit
    from .oneshot import opened
    from .session import sampling
    from .terminal import Terminal

    task.read_inputs(given)
    terminal = Terminal.detect(sys.stderr, plain=settings.plain)
    ended: TaskResult | None = None
    with opened(settings, terminal) as session:
        events = session.runner.stream(
            lambda token: task.stream(  # type: ignore[arg-type, return-value]
                session.model,
                given,
                tools=session.tools,
                sampling=sampling(settings),
                guards=session.guards,
                cancel=token,
            )
        )
        with closing(events):
            for event in events:
                told: Any = event
                if settings.json and told is not None:
                    click.echo(told.model_dump_json())
                elif isinstance(told, StepBegan) and told.attempt > 1 and not settings.quiet:
                    click.echo(f"{told.step}: attempt {told.attempt}", err=True)
                elif isinstance(told, StepEnded) and not settings.quiet:
                    _tell_step(told.result)
                if isinstance(told, TaskEnded):
                    ended = told.result
    if ended is None:
        return Exit.FAILED
    if not settings.json:
        _tell_result(ended)
    return _exit_of({ended.status: 1})


def _batch(task: "Task", rows: Path, folder: Path, settings: "Settings", how: dict[str, Any]) -> "Exit":
    from arriero.agent.tasks.batch import run_batch

    from .exits import Exit
    from .oneshot import opened
    from .session import sampling
    from .terminal import Terminal

    terminal = Terminal.detect(sys.stderr, plain=settings.plain)
    shown = _ProgressLine(sys.stderr, live=terminal.interactive, quiet=settings.quiet)
    result: BatchResult | None = None
    with opened(settings, terminal) as session:

        async def ended(token: "CancellationToken") -> AsyncGenerator[Any, None]:
            yield await run_batch(
                task,
                rows,
                folder,
                session.model,
                tools=session.tools,
                sampling=sampling(settings),
                guards=session.guards,
                cancel=token,
                on_progress=shown,
                **how,
            )

        with closing(session.runner.stream(ended)) as told:
            for one in told:
                result = one or result  # type: ignore[assignment]
    if result is None:
        return Exit.FAILED
    shown.end()
    _tell_batch(result)
    if result.missing:
        click.echo(
            f"{result.missing} rows have not run; the same command with --resume does the rest", err=True
        )
        return Exit.INTERRUPTED
    return _exit_of(result.statuses)


def _tell_step(result: "StepResult") -> None:
    calls = f", {len(result.calls)} calls" if result.calls else ""
    click.echo(f"{result.id}: {result.status}{calls}, {result.seconds:.1f} s", err=True)
    if result.checks:
        for check in result.checks:
            if not check.ok:
                click.echo(neutral(f"  {check.check}: {check.detail}"), err=True)
    elif result.error:
        click.echo(neutral(f"  {result.error}"), err=True)


def _tell_result(result: "TaskResult") -> None:
    import json

    if result.status != "ok":
        click.echo(neutral(f"{result.status}: {result.error or 'no reason was given'}"), err=True)
        return
    output = result.output
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=1)
    click.echo(neutral(text))


def _tell_batch(result: "BatchResult") -> None:
    counts = (
        ", ".join(f"{count} {status}" for status, count in sorted(result.statuses.items())) or "nothing done"
    )
    click.echo(f"{result.total} rows: {counts}")
    if result.ignored_lines:
        click.echo(
            f"{result.ignored_lines} lines of the results could not be read and were left out", err=True
        )
    click.echo(f"report: {neutral(str(result.folder / 'report.html'))}")


def _exit_of(statuses: Any) -> "Exit":
    from arriero.agent.tasks.results import worst

    from .exits import Exit

    return {
        "ok": Exit.OK,
        "failed": Exit.CHECK,
        "skipped": Exit.CHECK,
        "limit": Exit.LIMIT,
        "blocked": Exit.BLOCKED,
        "error": Exit.FAILED,
        "cancelled": Exit.INTERRUPTED,
    }[worst(list(statuses))]


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

    def end(self) -> None:
        """Clear the line."""
        if self._live and not self._quiet:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
