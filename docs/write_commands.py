"""Writes commands.md beside it: what ``--help`` says of every command, and what can be entered in a conversation.

python docs/write_commands.py
"""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from arriero.agent.cli.app import cli
from arriero.agent.cli.exits import Exit
from arriero.agent.cli.options import OPTIONS
from arriero.agent.cli.slash import ALIASES, COMMANDS

PAGE: Final = Path(__file__).with_name("commands.md")
_WIDTH: Final = 100
_MEANINGS: Final = {
    Exit.OK: "answered; all checks held",
    Exit.FAILED: "failed, and a line on stderr says why",
    Exit.USAGE: "wrong usage: an option, an argument, a file that is not as it should be",
    Exit.CHECK: "a check of a task failed; a replay went otherwise than recorded",
    Exit.LIMIT: "a limit was reached: steps, tokens, time, or the same call again and again",
    Exit.BLOCKED: "a screen stopped it, or a call needs an approval that nobody gave",
    Exit.NOT_READY: "a model, a tool or a key is missing; `arriero doctor` says what mends it",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
    Exit.PIPE: "whoever read the output has gone",
}


def page() -> str:
    """The whole page. Nothing of it depends on the machine."""
    return "\n".join(_lines()) + "\n"


def formatted_by() -> str:
    """What lays the texts out; another version may do it otherwise."""
    return f"click {'.'.join(version('click').split('.')[:2])}"


def _lines() -> Iterator[str]:
    shared = _shared()
    names = {option.name for option in shared}
    yield "# Commands"
    yield ""
    yield "This page is written by `python docs/write_commands.py` from the texts of `--help`."
    yield f"<!-- {formatted_by()} -->"
    for path, command in _commands("arriero", cli):
        yield from ("", f"## {path}", "", "```text", _told(path, command, names), "```")
    yield from ("", "## Options that most commands share", "", "```text", _options(shared), "```")
    yield from ("", "Each can also be set in a file (`arriero config edit`), and these by a variable:", "")
    yield from ("| option | variable |", "|---|---|")
    yield from (f"| `{max(one.opts, key=len)}` | `{one.envvar}` |" for one in shared if one.envvar)
    yield from ("", "## In a conversation", "", "| entry | what it does |", "|---|---|")
    for one in COMMANDS.values():
        also = "".join(f" (also `/{alias}`)" for alias, name in ALIASES.items() if name == one.name)
        yield f"| `/{one.usage.replace('|', chr(92) + '|')}`{also} | {one.help} |"
    yield from (
        "| `!code` | runs Python where the model's code runs |",
        "| `//text` | asks a question that begins with / |",
        "| `@FILE` in a question | brings the file |",
        '| `"""…"""` | asks a question of several lines |',
    )
    yield from ("", "## Exit codes", "", "| code | meaning |", "|---|---|")
    yield from (f"| {int(code)} | {_MEANINGS[code]} |" for code in Exit)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            if not (inner.hidden or (path == "arriero" and name == "ask")):
                yield from _commands(f"{path} {name}", inner)


def _told(path: str, command: click.Command, shared: set[str]) -> str:
    with click.Context(command, info_name=path, terminal_width=_WIDTH, max_content_width=_WIDTH) as ctx:
        formatter = ctx.make_formatter()
        command.format_usage(ctx, formatter)
        command.format_help_text(ctx, formatter)
        mixed = cli.commands["ask"].params if command is cli else command.params
        own = [one for one in mixed if isinstance(one, click.Option) and one.name not in shared]
        if records := [record for one in own if (record := one.get_help_record(ctx))]:
            with formatter.section("Options"):
                formatter.write_dl(records)
        if isinstance(command, click.Group):
            command.format_commands(ctx, formatter)
    text = formatter.getvalue().rstrip()
    takes_shared = command is cli or shared <= {one.name for one in command.params}
    return f"{text}\n\nAnd the options that most commands share." if takes_shared else text


def _shared() -> list[click.Option]:
    @click.command
    def bearer() -> None: ...

    for option in OPTIONS:
        option(bearer)
    return [one for one in bearer.params if isinstance(one, click.Option)]


def _options(shared: list[click.Option]) -> str:
    with click.Context(cli, terminal_width=_WIDTH, max_content_width=_WIDTH) as ctx:
        formatter = ctx.make_formatter()
        formatter.write_dl([record for one in shared if (record := one.get_help_record(ctx))])
    return formatter.getvalue().rstrip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
