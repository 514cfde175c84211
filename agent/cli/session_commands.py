"""``arriero sessions`` and ``replay``: what was said and done before."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .exits import Exit
from .listing import confirmed, counted, fail, moment_text, one_line, opened_journal, plain
from .options import CONTEXT, with_options
from .terminal import neutral

if TYPE_CHECKING:
    from arriero.agent.approval import Decided, Edited
    from arriero.agent.journal import Journal

_FILE = click.option(
    "-o", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: stdout."
)
_FORCE = click.option("--force", is_flag=True, help="Replace FILE if it is there.")


@click.group(context_settings=CONTEXT)
def sessions() -> None:
    """List, show, go on with, fork, search, export and remove conversations.

    A session is named by its name, its id, the beginning of that, or: last
    """


@sessions.command("list", context_settings=CONTEXT)
@click.option("-n", "limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_sessions(limit: int, as_json: bool) -> None:
    """The sessions, the latest first."""
    with opened_journal() as journal:
        found = journal.sessions(limit=limit)
    if as_json:
        click.echo(json.dumps([plain(info) for info in found], indent=1, ensure_ascii=False))
        return
    for info in found:
        mark = "interrupted" if info.interrupted else ""
        click.echo(
            f"{one_line(info.shown, 20):20} {moment_text(info.updated)} {mark:11} {one_line(info.title)}"
        )
    if not found:
        click.echo("no sessions yet; every conversation becomes one", err=True)


@sessions.command(context_settings=CONTEXT)
@click.argument("session")
@click.option("--html", "as_page", is_flag=True, help="As a page that draws where the time went.")
@_FILE
@_FORCE
def show(session: str, *, as_page: bool, file: Path | None, force: bool) -> None:
    """What a session holds; the numbers are those that fork takes.

    With --html SESSION may also be a run (an id, or the beginning of one; see logs).
    """
    if as_page:
        with opened_journal() as journal:
            _put(_page(journal, session), file, force=force)
        return
    if file is not None:
        fail("-o goes with --html; arriero sessions export writes a session as text", Exit.USAGE)
    with opened_journal() as journal:
        info, entries = journal.session(session), journal.entries(session)
    from arriero.agent.journal.restore import standing

    click.echo(neutral(f"{info.shown}  {info.model}  {counted(info.runs, 'run')}"))
    for one in standing(entries):
        message = one.message
        calls = ", ".join(f"{call.name}({json.dumps(call.arguments)})" for call in message.tool_calls)
        mark = "(interrupted)" if one.cut_off else ""
        said = " ".join(part for part in (message.content, calls, mark) if part)
        if message.role != "system":
            click.echo(f"{one.number:4}  {message.role:9}  {neutral(said)}")


@sessions.command(context_settings=CONTEXT)
@click.argument("session")
@click.option(
    "--at", type=click.IntRange(1), metavar="NUMBER", help="Up to this entry (see show); default: all."
)
@click.option("--name", metavar="NAME", help="Name of the new session.")
def fork(session: str, at: int | None, name: str | None) -> None:
    """Make a new session that shares what SESSION held up to a point."""
    with opened_journal() as journal:
        click.echo(journal.fork(session, at=at, name=name).shown)


@sessions.command(context_settings=CONTEXT)
@click.argument("session")
@click.argument("name")
def rename(session: str, name: str) -> None:
    """Give a session a name."""
    with opened_journal() as journal:
        click.echo(neutral(journal.rename(session, name).shown))


@sessions.command(context_settings=CONTEXT)
@click.argument("session")
def undo(session: str) -> None:
    """Take back the last question of a session and its answer."""
    with opened_journal() as journal:
        info = journal.session(session)
        lock = journal.lock(info.id, info.shown)
        try:
            done = journal.undo(info.id)
        finally:
            lock.release()
    if not done:
        fail("there is nothing to take back")
    click.echo("took back the last question and its answer", err=True)


@sessions.command(context_settings=CONTEXT)
@click.argument("words", nargs=-1, required=True)
@click.option("-n", "limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
def search(words: tuple[str, ...], limit: int) -> None:
    """Find messages that hold all the words; exit code 1 where there are none."""
    with opened_journal() as journal:
        found = journal.search(" ".join(words), limit=limit)
    for hit in found:
        click.echo(
            f"{one_line(hit.session.shown, 20):20} {hit.number:4} {hit.role:9} {one_line(hit.excerpt, 200)}"
        )
    if not found:
        click.get_current_context().exit(Exit.FAILED)


@sessions.command(context_settings=CONTEXT)
@click.argument("session")
@click.option(
    "--to", "form", type=click.Choice(["md", "json", "html", "ipynb"]), help="Default: by FILE, else md."
)
@_FILE
@_FORCE
def export(session: str, form: str | None, file: Path | None, *, force: bool) -> None:
    """Write a session as Markdown, JSON, HTML, or a notebook with the cells that were run."""
    from arriero.agent.journal.export import FORMS
    from arriero.agent.journal.export import export as exported

    suffix = file.suffix.lstrip(".") if file else ""
    with opened_journal() as journal:
        text = exported(journal, session, form or (suffix if suffix in FORMS else "md"))
    _put(text, file, force=force)


@sessions.command(context_settings=CONTEXT)
@click.argument("session", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(session: tuple[str, ...], yes: bool) -> None:
    """Remove sessions and their runs for good."""
    with opened_journal() as journal:
        found = [journal.session(one) for one in session]
        for info in found:
            what = f"remove {neutral(info.shown)} ({counted(info.runs, 'run')}: {one_line(info.title)}) for good?"
            if yes or confirmed(what):
                journal.delete(info.id)


@sessions.command(context_settings=CONTEXT)
@click.argument("name", metavar="SESSION")
@click.argument("question", nargs=-1)
@click.option("--again", multiple=True, metavar="CALL", help="Run this call that was in flight (repeatable).")
@click.option("--skip", multiple=True, metavar="CALL", help="Do not run this call (repeatable).")
@click.option(
    "--edit",
    multiple=True,
    nargs=2,
    metavar="CALL ARGUMENTS",
    help="Run this call with other arguments, a JSON object (repeatable).",
)
@with_options
def resume(
    name: str,
    question: tuple[str, ...],
    again: tuple[str, ...],
    skip: tuple[str, ...],
    edit: tuple[tuple[str, str], ...],
    **options: Any,
) -> None:
    """Go on with SESSION: first with what a run left unfinished, then with QUESTION or a conversation."""
    from .invocation import finish, settings_of
    from .resuming import resume as go_on

    settings = settings_of({**options, "session": name})
    asked = " ".join(question).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    decisions: dict[str, Decided] = {
        **dict.fromkeys(skip, False),
        **dict.fromkeys(again, True),
        **{call: _edited(arguments) for call, arguments in edit},
    }
    finish(lambda: go_on(settings, asked, decisions), debug=settings.debug)


@click.command(context_settings=CONTEXT)
@click.argument("run")
@click.option("--verify", is_flag=True, help="Generate again on the same weights and seeds, and compare.")
@click.option("-m", "--model", metavar="MODEL", default="bundled", help="The model to verify with.")
@click.option("--json", "as_json", is_flag=True, help="Events on stdout, one JSON object a line.")
def replay(run: str, verify: bool, model: str, as_json: bool) -> None:
    """Run RUN again from what model and tools said then; no model is needed and nothing is done.

    Exit code 3 where it goes otherwise than recorded, with the first difference: with --verify the first token.
    """
    from .replaying import replayed

    with opened_journal() as journal:
        click.get_current_context().exit(replayed(journal, run, model if verify else None, as_json=as_json))


COMMANDS = (sessions, replay)


def _edited(text: str) -> "Edited":
    from arriero.agent.approval import Edited

    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{text!r} is no JSON: {error}", param_hint="--edit") from error
    if not isinstance(arguments, dict):
        raise click.BadParameter('arguments are an object, like {"amount": 5}', param_hint="--edit")
    return Edited(arguments)


def _page(journal: "Journal", name: str) -> str:
    """The page of a session's runs, or of the one run that is meant. Raises UnknownSession."""
    from arriero.agent.journal import UnknownSession
    from arriero.agent.journal.run_page import run_page

    try:
        info = journal.session(name)
    except UnknownSession:
        run = journal.run(name)
        return run_page(journal, [run], one_line(run.prompt or run.id))
    return run_page(journal, journal.runs(info.id)[::-1], one_line(info.name or info.title or info.id))


def _put(text: str, file: Path | None, *, force: bool) -> None:
    """Write to FILE, readable by its owner only, or to stdout."""
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        how = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        with os.fdopen(os.open(file, how, 0o600), "w", encoding="utf-8", errors="replace") as stream:
            stream.write(text)
    except FileExistsError:
        fail(f"{file} is there already; --force replaces it")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
