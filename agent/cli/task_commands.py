"""``arriero run``, ``validate`` and ``schema``: scripted tasks from the command line."""

import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from .listing import counted
from .options import CONTEXT, with_options
from .terminal import neutral

if TYPE_CHECKING:
    from arriero.agent.backends import Model, Sampling
    from arriero.agent.tasks.results import StepResult, TaskResult
    from arriero.agent.tasks.task import Task
    from arriero.agent.tasks.working import Workplace

    from .exits import Exit
    from .runner import Runner
    from .settings import Settings

FILE: Final = click.Path(path_type=Path, dir_okay=False)
JUDGE: Final = click.option(
    "--judge", metavar="MODEL", help="The model that decides checks by a rubric; as for --model."
)
_SCHEMAS: Final = ("task",)


@click.command(context_settings=CONTEXT)
@click.argument("task", type=FILE)
@click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="An input (repeatable).")
@click.option("--dry-run", is_flag=True, help="Print every prompt and run nothing.")
@click.option(
    "--json", is_flag=True, help="Events on stdout, one JSON object a line; the last is task_ended."
)
@click.option("--record", type=FILE, metavar="FILE", help="Keep what model and tools say, for --replay.")
@click.option(
    "--replay",
    type=FILE,
    metavar="FILE",
    help="Run without model and tools, on what was recorded; exit code 3 where the task does otherwise.",
)
@JUDGE
@with_options
def run(
    task: Path,
    inputs: tuple[str, ...],
    dry_run: bool,
    record: Path | None,
    replay: Path | None,
    judge: str | None,
    **options: Any,
) -> None:
    """Run a task file; its output is printed at the end.

    \b
    arriero run examples/tasks/product.yaml -i first=23 -i second=47
    arriero run examples/tasks/product.yaml --record product.json
    arriero run examples/tasks/product.yaml --replay product.json

    Exit codes: 0 all checks held, 1 failed, 2 the file is wrong, 3 a check failed, 4 a limit, 5 blocked.
    """
    if record and replay:
        raise click.UsageError("--record and --replay exclude each other")

    def work(settings: "Settings") -> "Exit":
        from .exits import Exit

        found = loaded(task)
        try:
            given = pairs_of(inputs)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--input") from error
        if dry_run:
            for name, prompt in found.prompts(given).items():
                click.echo(f"--- {name}\n{neutral(prompt)}")
            return Exit.OK
        chosen = with_defaults(settings, found)
        found.read_inputs(given)
        if replay:
            return _replay(found, given, chosen, replay)
        return _run(found, given, chosen, judge_named(found, judge), record)

    do(options, work)


@click.command(context_settings=CONTEXT)
@click.argument("tasks", type=FILE, nargs=-1, required=True)
def validate(tasks: tuple[Path, ...]) -> None:
    """Check task files without running them; what is wrong is told with file and line."""
    from arriero.agent.tasks import TaskError

    from .exits import Exit

    wrong = False
    for path in tasks:
        try:
            task = loaded(path)
        except TaskError as error:
            wrong = True
            click.echo(neutral(str(error)), err=True)
        else:
            click.echo(f"{path}: {task.name}, {counted(len(task.steps), 'step')}")
    click.get_current_context().exit(Exit.USAGE if wrong else Exit.OK)


@click.command(context_settings=CONTEXT)
@click.argument("what", type=click.Choice(_SCHEMAS), default="task")
def schema(what: str) -> None:
    """Print the JSON schema of task files, for editors."""
    from arriero.agent.tasks.published import schema_text

    click.echo(schema_text(), nl=False)


COMMANDS: Final = (run, validate, schema)


def do(options: dict[str, Any], work: Callable[["Settings"], "Exit"]) -> None:
    """Do the work with the settings that the options say, and end with its exit code."""
    from arriero.agent.tasks import TaskError
    from arriero.prompts import ArrieroError

    from .errors import say_error
    from .exits import Exit, error_code
    from .invocation import finish, settings_of

    settings = settings_of(options)

    def reporting() -> int:
        try:
            return int(work(settings))
        except TaskError as error:
            for line in str(error).splitlines():
                say_error(line)
            _end_in_json(settings, error)
            return Exit.USAGE
        except ArrieroError as error:
            say_error(error)
            _end_in_json(settings, error)
            return error_code(error)

    finish(reporting, debug=settings.debug)


def _end_in_json(settings: "Settings", error: Exception) -> None:
    """Write the ending of a task that could not begin, where events are written."""
    if not settings.json:
        return
    from arriero.agent.tasks.results import TaskEnded, TaskResult

    from .display import json_line

    click.echo(json_line(TaskEnded(result=TaskResult(task="", status="error", inputs={}, error=str(error)))))


def loaded(path: Path) -> "Task":
    """The task in a file. Raises TaskError."""
    from arriero.agent.tasks import Task

    return Task.load(path)


def pairs_of(given: Iterable[str]) -> dict[str, str]:
    """Inputs that are written ``NAME=VALUE``. Raises ValueError."""
    pairs: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{pair!r} is not of the form NAME=VALUE")
        pairs[name] = value
    return pairs


def with_defaults(settings: "Settings", task: "Task", jobs: int = 1) -> "Settings":
    """The settings as the task wants them, where the user has not said otherwise."""
    from dataclasses import replace

    from .settings import TOOLS

    source = click.get_current_context().get_parameter_source("model")
    wanted = task.defaults
    chosen = (
        settings.model if source not in (None, ParameterSource.DEFAULT) else wanted.model or settings.model
    )
    return replace(
        settings,
        model=chosen,
        tools=tuple(name for name in task.tools if name in TOOLS),
        temperature=wanted.temperature if settings.temperature is None else settings.temperature,
        top_p=wanted.top_p if settings.top_p is None else settings.top_p,
        seed=wanted.seed if settings.seed is None else settings.seed,
        parallel=jobs,
    )


def judge_named(task: "Task", asked: str | None) -> str | None:
    """The name of the model that judges, by the caller or the task; None where there is none but the task's own."""
    from arriero.agent.tasks.judging import SAME

    name = asked or task.defaults.judge
    return name if task.is_judged and name != SAME else None


def load_judge(settings: "Settings", name: str | None) -> "Model | None":
    """The model that judges. Raises NotReady, ModelError."""
    from dataclasses import replace

    from .session import load_model

    return None if name is None else load_model(replace(settings, model=name, context=None))


def _run(
    task: "Task", given: dict[str, str], settings: "Settings", judge: str | None, record: Path | None
) -> "Exit":
    from arriero.agent.tasks.recording import Recording
    from arriero.agent.tasks.working import Workplace

    from .oneshot import opened
    from .session import sampling
    from .terminal import Terminal

    terminal = Terminal.detect(sys.stderr, plain=settings.plain)
    recording = Recording(task=task.name)
    with opened(settings, terminal) as session:
        judging = load_judge(settings, judge)
        place = Workplace(session.model, session.tools, session.guards, judging)
        if record:
            place = recording.around(place)
        try:
            ended = _carried_out(task, given, place, session.runner, settings, sampling(settings))
        finally:
            if judging is not None:
                session.runner.call(judging.aclose())
            if record:
                recording.save(record)
    return _told(ended, settings)


def _replay(task: "Task", given: dict[str, str], settings: "Settings", path: Path) -> "Exit":
    from arriero.agent.guard_models import pipeline
    from arriero.agent.tasks.judging import SAME
    from arriero.agent.tasks.recording import Recording
    from arriero.agent.tasks.working import Workplace

    from .exits import Exit
    from .runner import Runner
    from .session import sampling

    recording = Recording.load(path)
    again = recording.replay()
    itself = task.defaults.judge == SAME and not recording.judge
    guards = pipeline(settings.safety)
    place = Workplace(again.model, again.tools, guards, None if itself else again.judge)
    with closing(Runner()) as runner:
        ended = _carried_out(task, given, place, runner, settings, sampling(settings))
        runner.call(guards.aclose())
    code = _told(ended, settings)
    if again.difference is not None:
        click.echo(f"not as recorded: {neutral(again.difference)}", err=True)
        return Exit.CHECK
    return code


def _carried_out(
    task: "Task",
    given: dict[str, str],
    place: "Workplace",
    runner: "Runner",
    settings: "Settings",
    sampling: "Sampling",
) -> "TaskResult | None":
    """Run the task, and tell what happens meanwhile."""
    from arriero.agent.tasks.results import StepBegan, StepEnded, TaskEnded

    from .display import json_line

    ended: TaskResult | None = None
    events = runner.stream(
        lambda token: task.stream(  # type: ignore[arg-type, return-value]
            place.model,
            given,
            tools=place.tools,
            judge=place.judge,
            sampling=sampling,
            guards=place.guards,
            cancel=token,
        )
    )
    with closing(events):
        for event in events:
            told: Any = event
            if settings.json and told is not None:
                click.echo(json_line(told))
            elif isinstance(told, StepBegan) and told.attempt > 1 and not settings.quiet:
                click.echo(f"{told.step}: attempt {told.attempt}", err=True)
            elif isinstance(told, StepEnded) and not settings.quiet:
                for line in step_lines(told.result):
                    click.echo(neutral(line), err=True)
            if isinstance(told, TaskEnded):
                ended = told.result
    return ended


def _told(ended: "TaskResult | None", settings: "Settings") -> "Exit":
    from .exits import Exit

    if ended is None:
        return Exit.FAILED
    if not settings.json:
        well = ended.status == "ok"
        click.echo(neutral(output_text(ended) if well else ending(ended)), err=not well)
    return exit_of({ended.status: 1})


def step_lines(result: "StepResult") -> list[str]:
    """How a step has ended, and which checks did not hold."""
    calls = f", {len(result.calls)} calls" if result.calls else ""
    lines = [f"{result.id}: {result.status}{calls}, {result.seconds:.1f} s"]
    if result.checks:
        return lines + [f"  {check.check}: {check.detail}" for check in result.checks if not check.ok]
    return lines + ([f"  {result.error}"] if result.error else [])


def ending(result: "TaskResult") -> str:
    """Why a task did not come to its end."""
    return f"{result.status}: {result.error or 'no reason was given'}"


def output_text(result: "TaskResult") -> str:
    """The output of a task: a text as it is, anything else as JSON."""
    import json

    output = result.output
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=1)


def exit_of(statuses: Any) -> "Exit":
    """The exit code for the worst of these statuses."""
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
