"""``arriero logs``: the runs of the journal, what it takes, removing from it, and whether anything is kept."""

import json
import time
from typing import TYPE_CHECKING, Final

import click

from .listing import confirmed, counted, fail, moment_text, one_line, opened_journal, plain
from .options import CONTEXT
from .terminal import neutral

if TYPE_CHECKING:
    from arriero.agent.events import Event

_DAY: Final = 86400.0
_DEFAULT: Final = "show"


class LogGroup(click.Group):
    """A group that shows runs where its first argument is none of its commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = (*ctx.help_option_names, *self.commands)
        return super().parse_args(ctx, args if args and args[0] in own else [_DEFAULT, *args])

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to call it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] [RUN]")
        formatter.write_usage(ctx.command_path, "COMMAND [OPTIONS]...", prefix="       ")


@click.group(cls=LogGroup, context_settings=CONTEXT)
def logs() -> None:
    """The latest runs, what happened in one, how much is kept, and removing it.

    \b
    arriero logs                      the latest runs
    arriero logs last                 what happened in a run
    arriero logs -q "23 * 47"         messages that hold these words
    arriero logs rm --older-than 90   remove what was not used for so many days
    """


@logs.command(_DEFAULT, context_settings=CONTEXT)
@click.argument("run", required=False)
@click.option("-n", "limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--session", metavar="SESSION", help="Only the runs of this session.")
@click.option("-q", "--query", metavar="WORDS", help="Messages of any run that hold these words.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; the events of RUN one a line.")
def show(run: str | None, limit: int, session: str | None, query: str | None, as_json: bool) -> None:
    """What arriero logs alone does: the latest runs, or what happened in RUN (an id, its beginning, or: last)."""
    if query is not None:
        _found(query, limit, as_json=as_json)
    elif run is None:
        _latest(session, limit, as_json=as_json)
    else:
        _happened(run, as_json=as_json)


def _latest(session: str | None, limit: int, *, as_json: bool) -> None:
    with opened_journal() as journal:
        runs = journal.runs(session, limit=limit)
    if as_json:
        told = [{**plain(info), "usage": info.usage.model_dump()} for info in runs]
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    for info in runs:
        end = info.stop_reason or "interrupted"
        used = f"{info.usage.output_tokens:6} tok {info.usage.tool_calls:3} calls"
        click.echo(
            f"{info.id[:8]} {moment_text(info.started)} {end:11} {used}  {one_line(info.prompt or '…')}"
        )


def _found(words: str, limit: int, *, as_json: bool) -> None:
    with opened_journal() as journal:
        found = journal.search(words, limit=limit)
    if as_json:
        told = [{**plain(hit), "session": hit.session.id} for hit in found]
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    for hit in found:
        click.echo(
            f"{one_line(hit.session.shown, 20):20} {hit.number:4} {hit.role:9}  {one_line(hit.excerpt, 200)}"
        )
    if not found:
        fail("no message holds these words")


def _happened(run: str, *, as_json: bool) -> None:
    with opened_journal() as journal:
        happened = journal.events(run)
    from .display import json_line

    for moment, event in happened:
        if as_json:
            click.echo(json_line(event))
        else:
            click.echo(f"{moment_text(moment, exact=True)}  {event.type:20} {one_line(_told(event), 200)}")


def _told(event: "Event") -> str:
    values = event.model_dump(exclude={"run_id", "seq", "type", "artifacts", "new_messages", "usage"})
    return " ".join(f"{key}={value!r}" for key, value in values.items() if value not in (None, "", (), {}))


@logs.command(context_settings=CONTEXT)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def status(as_json: bool) -> None:
    """Whether anything is kept, where, and how much."""
    with opened_journal() as journal:
        path, on = journal.path, _kept()
        sessions, runs = (journal.sessions(), journal.runs()) if path.exists() else ([], [])
    size = sum(file.stat().st_size for file in (path, path.with_name(f"{path.name}-wal")) if file.exists())
    told = {"on": on, "path": str(path), "bytes": size, "sessions": len(sessions), "runs": len(runs)}
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(
        "on: every run is kept; arriero logs off ends that" if on else "off; arriero logs on begins again"
    )
    held = f"{counted(len(sessions), 'session')}, {counted(len(runs), 'run')}"
    click.echo(neutral(f"{path}  {size / 1e6:.1f} MB, {held}"))
    if sessions:
        oldest = min(info.updated for info in sessions)
        click.echo(f"the oldest was last used at {moment_text(oldest)}; arriero logs rm --older-than DAYS")


@logs.command(context_settings=CONTEXT)
@click.argument("session", nargs=-1)
@click.option(
    "--older-than", type=click.FloatRange(0), metavar="DAYS", help="What was not used for so many days."
)
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(session: tuple[str, ...], older_than: float | None, everything: bool, yes: bool) -> None:
    """Remove sessions with all their runs for good: the texts are overwritten in the file."""
    if not (session or everything or older_than is not None):
        raise click.UsageError("say what to remove: SESSION, --older-than DAYS or --all")
    from arriero.agent.journal import SessionBusy

    with opened_journal() as journal:
        if session:
            found = [journal.session(one) for one in session]
        else:
            latest = time.time() - (older_than or 0.0) * _DAY
            found = [info for info in journal.sessions() if everything or info.updated < latest]
        runs = sum(info.runs for info in found)
        what = f"remove {counted(len(found), 'session')} with {counted(runs, 'run')} for good?"
        if not found or not (yes or confirmed(what)):
            click.echo("nothing was removed", err=True)
            return
        removed = 0
        for info in found:
            try:
                journal.delete(info.id)
            except SessionBusy as error:
                click.echo(f"left: {neutral(str(error))}", err=True)
            else:
                removed += 1
    click.echo(f"removed {counted(removed, 'session')}", err=True)
    if removed < len(found):
        click.get_current_context().exit(1)


@logs.command(context_settings=CONTEXT)
def off() -> None:
    """Keep nothing from now on; what is there stays. The same as journal = false in your settings."""
    _switch(on=False)


@logs.command(context_settings=CONTEXT)
def on() -> None:
    """Keep every run again."""
    _switch(on=True)


def _switch(*, on: bool) -> None:
    from .config import write_setting

    path = write_setting("journal", "true" if on else "false")
    click.echo(f"{'on' if on else 'off'}, in {path}", err=True)
    if _kept() is not on:
        click.echo("an ARRIERO_JOURNAL in the environment says otherwise, and wins", err=True)


def _kept() -> bool:
    """Whether a run of now would be kept, as far as settings and environment say."""
    from .config_commands import setting

    return bool(setting(click.get_current_context(), "journal"))
