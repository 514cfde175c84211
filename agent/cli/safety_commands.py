"""``arriero safety`` and ``arriero eval safety``: what the screens say, said, and how well they say it."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .exits import Exit
from .invocation import finish
from .options import CONTEXT
from .terminal import neutral

if TYPE_CHECKING:
    from arriero.agent.events import GuardrailChecked
    from arriero.safety.evaluation import Judged
    from arriero.safety.pipeline import Checked
    from arriero.safety.policy import Policy

_PLACES: Final = ("input", "tool_call", "code", "tool_result", "output")
_WORDS: Final = {
    "input": "What the user wrote",
    "tool_call": "The call",
    "code": "The code",
    "tool_result": "The result",
    "output": "The answer",
}
_DONE: Final = {
    "allow": "passed",
    "block": "was blocked",
    "replace": "was replaced",
    "ask": "waited for a person's decision",
    "retry": "was written anew",
}

_MOST_ROWS: Final = 20
"""Of the places, sources, languages and categories each, the most that a table shows."""

_POLICY: Final = click.option(
    "-p",
    "--policy",
    "policy_name",
    envvar="ARRIERO_SAFETY",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="default, strict or off, or a TOML file.",
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group(context_settings=CONTEXT)
def safety() -> None:
    """Ask the screens, try them on canaries, and read what they said in a run."""


@safety.command(context_settings=CONTEXT)
@click.argument("text")
@click.option("--place", type=click.Choice(_PLACES), default="input", show_default=True)
@_POLICY
@_JSON
def check(text: str, place: str, policy_name: str, as_json: bool) -> None:
    """What the screens make of TEXT ("-" reads stdin); exit code 5 if it would not pass."""
    written = sys.stdin.read() if text == "-" else text
    _finish(lambda: _check(written, place, policy_name, as_json))


@safety.command("test", context_settings=CONTEXT)
@_POLICY
@_JSON
def test_screens(policy_name: str, as_json: bool) -> None:
    """Try the screens of a policy on canaries; exit code 6 if one cannot be relied on."""
    _finish(lambda: _test(policy_name, as_json))


@safety.command(context_settings=CONTEXT)
@click.argument("run", default="last")
@click.option("--journal", type=click.Path(path_type=Path), help="The journal; default: the user's.")
@_JSON
def show(run: str, journal: Path | None, as_json: bool) -> None:
    """The verdicts of a run as a table: RUN is its id, the beginning of one, or last."""
    _finish(lambda: _show(run, journal, as_json))


@safety.command(context_settings=CONTEXT)
@click.argument("run", default="last")
@click.option("--journal", type=click.Path(path_type=Path), help="The journal; default: the user's.")
def explain(run: str, journal: Path | None) -> None:
    """The verdicts of a run in sentences: what was found, by whom, and what followed."""
    _finish(lambda: _explain(run, journal))


@click.command("safety", context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@_POLICY
@click.option(
    "--place", type=click.Choice(_PLACES), help="Screen everything there; default: by the collection."
)
@click.option("--limit", type=click.IntRange(1), help="Only so many cases of each file, spread over it.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option(
    "--wrong", type=click.IntRange(0), default=0, help="Show so many texts that were judged wrongly."
)
@_JSON
def eval_safety(
    files: tuple[Path, ...],
    policy_name: str,
    place: Any,
    limit: int | None,
    concurrency: int,
    wrong: int,
    as_json: bool,
) -> None:
    """Violation and false refusal rates of a policy on labelled texts.

    FILES are public collections as they are published (XSTest, HarmBench, AdvBench, StrongREJECT, JailbreakBench,
    ToxicChat, CyberSecEval, BIPIA, BFCL, HumanEval), or JSON lines or CSV with text and label.
    """
    _finish(lambda: _evaluate(files, policy_name, place, limit, concurrency, wrong, as_json))


def read_policy(name: str) -> "Policy":
    """The preset of that name, or the policy in that file. Raises PolicyError."""
    from arriero.agent.guard_models import with_models
    from arriero.safety.policy import Policy

    return with_models(Policy.named(name))


def _finish(work: Callable[[], Exit]) -> None:
    from .tool_commands import reporting

    finish(lambda: reporting(work), debug=False)


def _check(text: str, place: Any, policy_name: str, as_json: bool) -> Exit:
    from arriero.safety.base import ScreenInput
    from arriero.safety.evaluation import ROLES
    from arriero.safety.pipeline import Outcome, Pipeline

    async def ask() -> Outcome:
        pipeline = Pipeline(read_policy(policy_name))
        role, origin = ROLES[place]
        try:
            return await pipeline.check(ScreenInput(place=place, text=text, role=role, origin=origin))
        finally:
            await pipeline.aclose()

    outcome = asyncio.run(ask())
    if as_json:
        rows = [_row(check) for check in outcome.checks]
        click.echo(json.dumps({"action": outcome.action, "reason": outcome.reason, "checks": rows}))
    else:
        if not outcome.checks:
            click.echo(f"no screen stands at {place} in this policy", err=True)
        _table(("screen", "action", "score", "categories", "ms", "reason"), map(_cells, outcome.checks))
        click.echo(f"the text {_DONE[outcome.action] if outcome.action == 'allow' else 'would not pass'}")
    return Exit.OK if outcome.action == "allow" else Exit.BLOCKED


def _row(check: "Checked") -> dict[str, Any]:
    from arriero.agent.screening import report

    return report(check)


def _cells(check: "Checked") -> tuple[str, ...]:
    verdict = check.verdict
    return (
        check.screen,
        "failed" if check.failed else check.action,
        _number(verdict.score),
        ",".join(verdict.categories),
        f"{1000 * check.seconds:.1f}",
        verdict.reason,
    )


def _test(policy_name: str, as_json: bool) -> Exit:
    from arriero.safety.trying import Tried, try_screens

    tried: list[Tried] = asyncio.run(try_screens(read_policy(policy_name)))
    if as_json:
        click.echo(
            json.dumps([{"screen": t.screen, "place": t.place, "ok": t.ok, "line": t.line} for t in tried])
        )
    else:
        for one in tried:
            click.echo(f"{'ok' if one.ok else '!!'}  {neutral(one.line)}")
        if not tried:
            click.echo("no screen stands anywhere in this policy")
    return Exit.OK if all(one.ok for one in tried) else Exit.NOT_READY


def verdicts(run: str, path: Path | None) -> "tuple[str, list[tuple[float, GuardrailChecked]]]":
    """The id of a run and its verdicts in order, each with its time. Raises JournalError."""
    from arriero.agent.events import GuardrailChecked
    from arriero.agent.journal import Journal

    journal = Journal(path)
    try:
        found = journal.run(run)
        events = journal.events(found.id)
    finally:
        journal.close()
    return found.id, [(at, event) for at, event in events if isinstance(event, GuardrailChecked)]


def _show(run: str, path: Path | None, as_json: bool) -> Exit:
    run_id, found = verdicts(run, path)
    if as_json:
        click.echo(
            json.dumps({"run": run_id, "verdicts": [event.model_dump(mode="json") for _, event in found]})
        )
        return Exit.OK
    rows = (
        (
            event.place,
            event.screen,
            "failed" if event.failed else event.action,
            _number(event.score),
            _number(event.threshold),
            ",".join(event.categories),
            f"{1000 * event.seconds:.1f}",
            event.reason,
        )
        for _, event in found
    )
    _table(("place", "screen", "action", "score", "threshold", "categories", "ms", "reason"), rows)
    if not found:
        click.echo(f"run {run_id} has no verdicts: no screen stood anywhere in its policy")
    return Exit.OK


def _explain(run: str, path: Path | None) -> Exit:
    run_id, found = verdicts(run, path)
    stopped = [event for _, event in found if event.action != "allow"]
    noted = [event for _, event in found if event.action == "allow" and (event.categories or event.failed)]
    click.echo(f"run {run_id}: {len(found)} verdicts, {len(stopped)} of them stopped something")
    for event in (*stopped, *noted):
        click.echo(f"- {neutral(sentence(event))}")
    return Exit.OK


def sentence(event: "GuardrailChecked") -> str:
    """One verdict for people."""
    what = _WORDS.get(event.place, event.place) + (f" {event.call_id}" if event.call_id else "")
    done = _DONE[event.action]
    if event.failed:
        return f"{what} {done}, since the screen {event.screen} could not judge it: {event.reason}"
    why = f": {event.reason}" if event.reason else ""
    names = f" ({', '.join(event.categories)})" if event.categories else ""
    score = ""
    if event.score is not None:
        bound = f", threshold {event.threshold:.3g}" if event.threshold is not None else ""
        score = f"; score {event.score:.3g}{bound}"
    verb = "noted something" if event.action == "allow" else "found something"
    return f"{what} {done}: {event.screen} {verb}{names}{why}{score}"


def _evaluate(
    files: Sequence[Path],
    policy_name: str,
    place: Any,
    limit: int | None,
    concurrency: int,
    wrong: int,
    as_json: bool,
) -> Exit:
    from arriero.safety.evaluation import evaluate, read_cases, report
    from arriero.safety.pipeline import Pipeline

    policy = read_policy(policy_name)
    cases = [case for path in files for case in _spread(read_cases(path, place=place), limit)]
    progress = _Progress(len(cases))

    async def run() -> "list[Judged]":
        pipeline = Pipeline(policy)
        try:
            return await evaluate(pipeline, cases, concurrency=concurrency, on_judged=progress.note)
        finally:
            await pipeline.aclose()

    judged = asyncio.run(run())
    progress.clear()
    found = report(judged, policy=policy.name)
    found["files"] = [str(path) for path in files]
    if as_json:
        click.echo(json.dumps(found))
    else:
        _report(found)
    misjudged = [one for one in judged if one.stopped != one.case.harmful]
    for one in misjudged[:wrong]:
        click.echo(
            f"{one.case.place} {one.case.label} {one.action} {neutral(one.case.text[:160])!r}", err=as_json
        )
    return Exit.OK if not found["failed"] else Exit.NOT_READY


def _spread(cases: list[Any], limit: int | None) -> list[Any]:
    """At most ``limit`` cases, evenly from the whole."""
    if limit is None or len(cases) <= limit:
        return cases
    return [cases[index * len(cases) // limit] for index in range(limit)]


def _report(found: dict[str, Any]) -> None:
    head = ("", "cases", "harmful", "violations", "harmless", "false refusals", "precision", "recall", "F1")
    rows = [_rates("all", found["all"])]
    for group, one in (
        ("places", "place"),
        ("sources", "from"),
        ("languages", "language"),
        ("categories", "category"),
    ):
        named = sorted(found[group].items(), key=lambda pair: -pair[1]["cases"])
        rows += [_rates(f"{one} {name}", rates) for name, rates in named[:_MOST_ROWS]]
        if len(named) > _MOST_ROWS:
            rows.append((f"{len(named) - _MOST_ROWS} more: --json", *("" for _ in head[1:])))
    _table(head, rows)
    actions = sorted({action for counts in found["confusion"].values() for action in counts})
    click.echo()
    _table(
        ("label", *actions),
        (
            (label, *(str(counts.get(action, 0)) for action in actions))
            for label, counts in found["confusion"].items()
        ),
    )
    click.echo()
    _table(
        ("milliseconds", "median", "p95", "mean"),
        (
            (name, *(f"{took[key]:.3g}" for key in ("median", "p95", "mean")))
            for name, took in found["latency_ms"].items()
            if took
        ),
    )
    if found["failed"]:
        click.echo(f"\n{found['failed']} texts could not be judged: arriero safety test says why")


def _rates(name: str, rates: dict[str, Any]) -> tuple[str, ...]:
    return (
        name,
        str(rates["cases"]),
        str(rates["harmful"]),
        _share(rates["violation_rate"], rates["violation_interval"]),
        str(rates["harmless"]),
        _share(rates["false_refusal_rate"], rates["false_refusal_interval"]),
        _number(rates["precision"]),
        _number(rates["recall"]),
        _number(rates["f1"]),
    )


def _share(rate: float | None, interval: tuple[float, float] | None) -> str:
    if rate is None or interval is None:
        return "-"
    return f"{rate:.1%} ({interval[0]:.1%}-{interval[1]:.1%})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as they must be; the last may be long. Nothing without rows."""
    whole = [[neutral(cell).replace("\n", " ") for cell in row] for row in rows]
    if not whole:
        return
    whole.insert(0, list(head))
    widths = [max(len(row[column]) for row in whole) for column in range(len(head))]
    for row in whole:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


class _Progress:
    """How far it is, on a terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._shown = sys.stderr.isatty()

    def note(self, judged: "Judged") -> None:
        self._done += 1
        if self._shown:
            sys.stderr.write(f"\r\x1b[2K{self._done}/{self._total}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
