"""From options to settings, and from work to an exit code: what every subcommand does first and last."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .exits import Exit
from .options import LAST

if TYPE_CHECKING:
    from .settings import Settings


def settings_of(options: dict[str, Any]) -> "Settings":
    """The settings that the shared options say. Raises click.UsageError."""
    from .settings import Settings

    values = dict(options)
    no_tools, tools = values.pop("no_tools"), values.pop("tools")
    if values.pop("latest"):
        if values["session"]:
            raise click.UsageError("--continue and --session exclude each other")
        values["session"] = LAST
    if values.pop("unsafe_no_sandbox"):
        values["sandbox"] = "unsafe-none"
    if no_tools and tools:
        raise click.UsageError("--no-tools and --tool exclude each other")
    _check_dialect(values["dialect"])
    _set_up_logging(values["debug"])
    values.setdefault("json", False)
    return Settings(**values, tools=() if no_tools else tuple(tools) or None)


def _check_dialect(name: str | None) -> None:
    if name is None:
        return
    from arriero.prompts import UnknownDialect
    from arriero.prompts.dialects import get_dialect

    try:
        get_dialect(name)
    except UnknownDialect as error:
        raise click.BadParameter(str(error), param_hint="--dialect") from error


def _set_up_logging(debug: bool) -> None:
    import logging

    if debug:
        logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
        logging.getLogger("arriero").setLevel(logging.DEBUG)
    elif not logging.getLogger().handlers:
        from .errors import FAULTS

        # Without any handler, Python itself writes warnings of libraries onto the terminal.
        logging.getLogger().addHandler(logging.NullHandler())
        logging.getLogger("arriero").addHandler(FAULTS)


def finish(work: Callable[[], int], *, debug: bool) -> None:
    """Do the work and end with its exit code; a fault of ours becomes a line and a log, or raises with ``debug``."""
    try:
        code = int(work())
    except BrokenPipeError:
        code = Exit.PIPE
    except click.ClickException:
        raise
    except Exception as error:
        if debug:
            raise
        from .errors import say_fault

        say_fault(error)
        code = Exit.FAILED
    click.get_current_context().exit(code)
