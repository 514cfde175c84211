"""``arriero eval``: public suites, run through a model or replayed through everything but a model."""

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .exits import Exit
from .invocation import finish, settings_of
from .options import CONTEXT, with_options

if TYPE_CHECKING:
    from arriero.agent.evaluation import Score, Tally
    from arriero.agent.evaluation.answers import Checker

    from .settings import Settings

Scores = Callable[[str], "AsyncIterator[Score]"]
"""The scores of a category, one after another."""


@dataclass(frozen=True, slots=True)
class _Column:
    """One thing that is measured: its title, and the scores of a category."""

    title: str
    scores: Scores


@click.group("eval", context_settings=CONTEXT)
def evaluate() -> None:
    """Measure a model, or the way from its text to calls, with public suites."""


_REPLAY = click.option(
    "--replay",
    "forms",
    multiple=True,
    metavar="DIALECT",
    help="Ask no model: write the right calls in this wire form and read them back (repeatable).",
)
_LIMIT = click.option("--limit", type=click.IntRange(1), help="Cases of each category.")
_CATEGORY = click.option(
    "--category", "names", multiple=True, metavar="NAME", help="Only this category (repeatable)."
)
_WRONG = click.option(
    "--wrong", type=click.IntRange(0), default=0, help="Show so many wrong cases of each category."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")


@evaluate.command("bfcl", context_settings=CONTEXT)
@click.argument("folder", type=click.Path(path_type=Path))
@_CATEGORY
@_REPLAY
@_LIMIT
@click.option(
    "--checker",
    type=click.Choice(["auto", "own", "suite"]),
    default="auto",
    show_default=True,
    help="For questions of one turn: the suite's own checker (needs bfcl-eval), or its rules as written here.",
)
@click.option(
    "--together",
    is_flag=True,
    help="With --replay: calls of a turn in one message, where the form can write it.",
)
@_WRONG
@_JSON
@with_options
def bfcl(
    folder: Path,
    names: tuple[str, ...],
    forms: tuple[str, ...],
    limit: int | None,
    checker: str,
    together: bool,
    wrong: int,
    as_json: bool,
    **options: Any,
) -> None:
    """The Berkeley Function Calling Leaderboard, version 4: questions of one turn, and conversations.

    FOLDER is `bfcl_eval/data` of the package bfcl-eval (pip download --no-deps bfcl-eval, and unpack it).
    The conversations, multi_turn_…, are carried out on the suite's own classes: they need the package installed, and
    are left out where it is not, unless they are named.
    """

    def work(settings: "Settings") -> Exit:
        check, which = _checker(checker)
        chosen = _categories(folder, names)
        columns = (
            [
                _Column(form, partial(_replayed, folder, form, check, together=together, limit=limit))
                for form in forms
            ]
            if forms
            else [_asked(folder, settings, check, limit)]
        )
        by = {"suite": "the package bfcl-eval", "own": "its rules as written in arriero"}[which]
        return _measure("bfcl-v4", columns, chosen, by, which, wrong, as_json)

    _do(options, work)


@evaluate.command("trajectories", context_settings=CONTEXT)
@click.argument("folder", type=click.Path(path_type=Path))
@_CATEGORY
@_REPLAY
@_LIMIT
@_WRONG
@_JSON
@with_options
def trajectories(
    folder: Path,
    names: tuple[str, ...],
    forms: tuple[str, ...],
    limit: int | None,
    wrong: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Recorded trajectories of tau-bench, WorkBench and API-Bank, played through renderer, parser and loop.

    FOLDER holds, at any depth, files tau_….jsonl, workbench_….jsonl and apibank_….jsonl, gzipped or not: an object
    a line with the calls and what the suite's environment answered. A trajectory is right when every call
    arrives as recorded, in order, and every answer reaches the model as it is. No model is asked.
    """

    def work(settings: "Settings") -> Exit:
        from arriero.agent.evaluation import trajectories as recorded

        found = recorded.suites(folder)
        if not found:
            raise click.UsageError(f"{folder} holds no tau_….jsonl, workbench_….jsonl or apibank_….jsonl")
        chosen = _known(names, list(found))

        def scores(form: str, name: str) -> "AsyncIterator[Score]":
            rows = recorded.load(found[name], name)
            return recorded.replay(itertools.islice(rows, limit), dialect=form)

        columns = [_Column(form, partial(scores, form)) for form in forms or ("llama3.1",)]
        return _measure("trajectories", columns, chosen, "what was recorded", "recorded", wrong, as_json)

    _do(options, work)


def _do(options: dict[str, Any], work: Callable[["Settings"], Exit]) -> None:
    settings = settings_of(options)

    def reported() -> Exit:
        from .tool_commands import reporting

        return reporting(lambda: work(settings))

    finish(reported, debug=settings.debug)


def _replayed(
    folder: Path, form: str, check: "Checker", name: str, *, together: bool, limit: int | None
) -> "AsyncIterator[Score]":
    from arriero.agent.evaluation import load, multi_turn, replay

    if name in multi_turn.CATEGORIES:
        dialogues = itertools.islice(multi_turn.load(folder, name), limit)
        return multi_turn.replay(dialogues, dialect=form, together=together)
    # Calls of a question of one turn belong together, where the form can write that.
    return replay(itertools.islice(load(folder, name), limit), check, dialect=form)


def _asked(folder: Path, settings: "Settings", check: "Checker", limit: int | None) -> _Column:
    from arriero.agent.evaluation import load, multi_turn, run_model

    from .session import load_model, sampling

    model = load_model(settings)
    given = sampling(settings) if settings.temperature is not None else None

    def scores(name: str) -> "AsyncIterator[Score]":
        if name in multi_turn.CATEGORIES:
            dialogues = itertools.islice(multi_turn.load(folder, name), limit)
            return multi_turn.run_model(dialogues, model, dialect=settings.dialect, sampling=given)
        cases = itertools.islice(load(folder, name), limit)
        return run_model(cases, model, check, dialect=settings.dialect, sampling=given)

    return _Column(model.name, scores)


def _checker(wanted: str) -> "tuple[Checker, str]":
    from arriero.agent.evaluation.answers import own_checker, suite_checker

    suite = suite_checker() if wanted != "own" else None
    if suite is None and wanted == "suite":
        raise click.UsageError(
            "--checker suite needs the package bfcl-eval: pip install --no-deps bfcl-eval, and what that says "
            "is missing"
        )
    return (suite, "suite") if suite else (own_checker, "own")


def _categories(folder: Path, names: Sequence[str]) -> list[str]:
    from arriero.agent.evaluation import SuiteError, categories, multi_turn
    from arriero.agent.evaluation.bfcl import has
    from arriero.agent.evaluation.environments import suite

    found = categories(folder)
    dialogues = [name for name in multi_turn.CATEGORIES if has(folder, name)]
    if not found and not dialogues:
        raise click.UsageError(
            f"{folder} holds no BFCL_v4_….json; give the folder bfcl_eval/data of bfcl-eval"
        )
    if dialogues and not names:
        try:
            suite("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker")
        except SuiteError as error:
            click.echo(f"multi_turn_… are left out: {error}", err=True)
            return found
    return _known(names, [*found, *dialogues])


def _known(names: Sequence[str], found: list[str]) -> list[str]:
    unknown = next((name for name in names if name not in found), None)
    if unknown is not None:
        raise click.UsageError(f"there is no category {unknown!r} here; there are {', '.join(found)}")
    return list(names) or found


def _measure(
    title: str,
    columns: Sequence[_Column],
    names: Sequence[str],
    by: str,
    checker: str,
    wrong: int,
    as_json: bool,
) -> Exit:
    tallies = asyncio.run(_all(columns, names))
    if as_json:
        _write_json(title, checker, tallies)
    else:
        _write_table(tallies, by, wrong)
    return Exit.OK


async def _all(columns: Sequence[_Column], names: Sequence[str]) -> "dict[str, dict[str, Tally]]":
    from arriero.agent.evaluation import Tally

    tallies: dict[str, dict[str, Tally]] = {}
    for column in columns:
        tallies[column.title] = {}
        for name in names:
            tally = Tally()
            async with aclosing(column.scores(name)) as scores:  # type: ignore[type-var]
                async for score in scores:
                    tally.add(score)
                    _progress(column.title, name, tally)
            if tally.total:
                tallies[column.title][name] = tally
    _progress("", "", None)
    return tallies


def _progress(title: str, name: str, tally: "Tally | None") -> None:
    if not sys.stderr.isatty():
        return
    text = f"{title}  {name}  {tally.right} of {tally.total} right" if tally else ""
    sys.stderr.write(f"\r\x1b[2K{text}")
    sys.stderr.flush()


def _write_json(title: str, checker: str, tallies: "dict[str, dict[str, Tally]]") -> None:
    def figures(tally: "Tally") -> dict[str, int]:
        calls = {"calls_right": tally.calls_right, "calls": tally.calls} if tally.calls else {}
        return {"right": tally.right, "total": tally.total, **calls}

    rows = {column: {name: figures(t) for name, t in found.items()} for column, found in tallies.items()}
    click.echo(json.dumps({"suite": title, "checker": checker, "results": rows}))


def _write_table(tallies: "dict[str, dict[str, Tally]]", by: str, wrong: int) -> None:
    from arriero.agent.evaluation import Tally

    names = list(dict.fromkeys(name for found in tallies.values() for name in found))
    click.echo("| category | " + " | ".join(tallies) + " |\n|---|" + "---:|" * len(tallies))
    for name in names:
        cells = [_cell(found.get(name)) for found in tallies.values()]
        click.echo(f"| {name} | " + " | ".join(cells) + " |")
    sums = [Tally.sum(found.values()) for found in tallies.values()]
    click.echo("| **all** | " + " | ".join(map(_cell, sums)) + " |")
    click.echo(f"\nchecked by {by}")
    for title, found in tallies.items():
        for score in itertools.chain.from_iterable(tally.wrong[:wrong] for tally in found.values()):
            click.echo(f"{title} {score.case.id}: {score.problem}")


def _cell(tally: "Tally | None") -> str:
    if tally is None:
        return ""
    calls = f", calls {tally.calls_right}/{tally.calls}" if tally.calls else ""
    return f"{tally.right}/{tally.total}{calls}"
