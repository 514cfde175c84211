"""The user's journal on the command line, and how sessions and runs are written in a list."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from .exits import Exit, error_code
from .terminal import neutral

if TYPE_CHECKING:
    from arriero.agent.journal import Journal
    from arriero.prompts import ArrieroError

_ROW: Final = 60  # characters of a text in a list


@contextmanager
def opened_journal() -> "Iterator[Journal]":
    """The user's journal; what it refuses ends the command with a line and an exit code."""
    from arriero.agent.journal import Journal
    from arriero.prompts import ArrieroError

    journal = Journal()
    try:
        yield journal
    except ArrieroError as error:
        fail(error, error_code(error))
    finally:
        journal.close()


def counted(number: int, what: str) -> str:
    """A number of things: ``1 run``, ``2 runs``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def confirmed(question: str) -> bool:
    """What a person, or a pipe, answers. Raises UsageError where nobody does."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise click.UsageError("nothing was removed; without a terminal, say --yes") from None


def fail(error: "ArrieroError | str", code: int = Exit.FAILED) -> None:
    """Say what is wrong, and end the command."""
    from .errors import say_error

    say_error(error)
    click.get_current_context().exit(code)


def plain(info: Any) -> dict[str, Any]:
    """What the journal tells of a session or a run, for JSON."""
    return {name: getattr(info, name) for name in info.__slots__}


def moment_text(moment: float, *, exact: bool = False) -> str:
    """A moment in the time of this place, to the minute or to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S" if exact else "%Y-%m-%d %H:%M", time.localtime(moment))


def one_line(text: str, width: int = _ROW) -> str:
    """The head of a text in one line, which steers no terminal."""
    one = " ".join(neutral(text).split())
    return one if len(one) <= width else f"{one[: width - 1]}…"
