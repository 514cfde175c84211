"""``arriero eval``: public suites, run through a model or replayed through everything but a model."""

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .exits import Exit
from .invocation import finish, settings_of
from .options import CONTEXT, with_options

if TYPE_CHECKING:
    from arriero.agent.evaluation import Case, Score, Tally

Runner = Callable[["Sequence[Case]"], "AsyncIterator[Score]"]


@click.group("eval", context_settings=CONTEXT)
def evaluate() -> None:
    """Measure a model, or the way from its text to calls, with public suites."""


@evaluate.command("bfcl", context_settings=CONTEXT)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--category", "names", multiple=True, metavar="NAME", help="Only this category (repeatable).")
@click.option(
    "--replay",
    "forms",
    multiple=True,
    metavar="DIALECT",
    help="Ask no model: write the right calls in this wire form and read them back (repeatable).",
)
@click.option("--limit", type=click.IntRange(1), help="Cases of each category.")
@click.option(
    "--checker",
    type=click.Choice(["auto", "own", "suite"]),
    default="auto",
    show_default=True,
    help="The suite's own checker (needs bfcl-eval), or its rules as written here.",
)
@click.option("--wrong", type=click.IntRange(0), default=0, help="Show so many wrong cases of each category.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@with_options
def bfcl(
    folder: Path,
    names: tuple[str, ...],
    forms: tuple[str, ...],
    limit: int | None,
    checker: str,
    wrong: int,
    as_json: bool,
    **options: Any,
) -> None:
    """The Berkeley Function Calling Leaderboard, version 4: questions of one turn.

    FOLDER is `bfcl_eval/data` of the package bfcl-eval (pip download --no-deps bfcl-eval, and unpack it).
    """
    settings = settings_of(options)

    def work() -> Exit:
        from arriero.agent.evaluation import replay, run_model

        from .session import load_model, sampling
        from .tool_commands import reporting

        def run() -> Exit:
            check, which = _checker(checker)
            chosen = _categories(folder, names)
            runs: dict[str, Runner] = {}
            if forms:
                for form in forms:
                    runs[form] = lambda cases, form=form: replay(cases, check, dialect=form)  # type: ignore[misc]
            else:
                model = load_model(settings)
                given = settings.temperature is not None
                runs[model.name] = lambda cases: run_model(
                    cases,
                    model,
                    check,
                    dialect=settings.dialect,
                    sampling=sampling(settings) if given else None,
                )
            tallies = asyncio.run(_all(folder, chosen, runs, limit))
            _report(tallies, which, wrong, as_json)
            return Exit.OK

        return reporting(run)

    finish(work, debug=settings.debug)


def _checker(wanted: str) -> tuple[Any, str]:
    from arriero.agent.evaluation.answers import own_checker, suite_checker

    suite = suite_checker() if wanted != "own" else None
    if wanted == "suite" and suite is None:
        raise click.UsageError(
            "the suite's checker is not installed: pip install --no-deps bfcl-eval, and what it names as missing"
        )
    return (suite, "suite") if suite else (own_checker, "own")


def _categories(folder: Path, names: Sequence[str]) -> list[str]:
    from arriero.agent.evaluation import categories

    found = categories(folder)
    if not found:
        raise click.UsageError(
            f"{folder} holds no BFCL_v4_….json; give the folder bfcl_eval/data of bfcl-eval"
        )
    unknown = next((name for name in names if name not in found), None)
    if unknown is not None:
        raise click.UsageError(f"there is no category {unknown!r} here; there are {', '.join(found)}")
    return list(names) or found


async def _all(
    folder: Path, names: Sequence[str], runs: dict[str, Runner], limit: int | None
) -> "dict[str, dict[str, Tally]]":
    from arriero.agent.evaluation import Tally, load

    tallies: dict[str, dict[str, Tally]] = {}
    for title, run in runs.items():
        tallies[title] = {}
        for name in names:
            cases = list(itertools.islice(load(folder, name), limit))
            tally = Tally()
            async with aclosing(run(cases)) as scores:  # type: ignore[type-var]
                async for score in scores:
                    tally.add(score)
                    _progress(title, name, tally, len(cases))
            if tally.total:
                tallies[title][name] = tally
    _progress("", "", None, 0)
    return tallies


def _progress(title: str, name: str, tally: "Tally | None", cases: int) -> None:
    if not sys.stderr.isatty():
        return
    text = f"{title}  {name}  {tally.total}/{cases}, {tally.right} right" if tally else ""
    sys.stderr.write(f"\r\x1b[2K{text}")
    sys.stderr.flush()


def _report(tallies: "dict[str, dict[str, Tally]]", checker: str, wrong: int, as_json: bool) -> None:
    if as_json:
        rows = {
            title: {name: {"right": t.right, "total": t.total} for name, t in found.items()}
            for title, found in tallies.items()
        }
        click.echo(json.dumps({"suite": "bfcl-v4", "checker": checker, "results": rows}))
        return
    names = list(dict.fromkeys(name for found in tallies.values() for name in found))
    click.echo("| category | " + " | ".join(tallies) + " |\n|---|" + "---:|" * len(tallies))
    for name in names:
        cells = [f"{t.right}/{t.total}" if (t := found.get(name)) else "" for found in tallies.values()]
        click.echo(f"| {name} | " + " | ".join(cells) + " |")
    sums = [(sum(t.right for t in f.values()), sum(t.total for t in f.values())) for f in tallies.values()]
    click.echo("| **all** | " + " | ".join(f"{right}/{total}" for right, total in sums) + " |")
    click.echo(
        f"\nchecked by {'the package bfcl-eval' if checker == 'suite' else 'its rules as written in arriero'}"
    )
    for title, found in tallies.items():
        for score in itertools.chain.from_iterable(t.wrong[:wrong] for t in found.values()):
            click.echo(f"{title} {score.case.id}: {score.problem}")
