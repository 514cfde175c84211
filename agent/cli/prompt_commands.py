"""``arriero prompts``: what a model is really given, token by token where that matters."""

from typing import Any

import click

from .options import CONTEXT, with_options


@click.group(context_settings=CONTEXT)
def prompts() -> None:
    """Show what a model is given."""


@prompts.command(context_settings=CONTEXT)
@click.argument("question", nargs=-1)
@click.option("--date", metavar="DATE", help="Today's date, as it is written; default: today.")
@with_options
def show(question: tuple[str, ...], date: str | None, **options: Any) -> None:
    """The prompt of a question as the options make it: instructions, tools, and the wire form's own markers.

    What looks like a marker in a text and is none has a space in it: < |eot_id|>. Of a model's file only the wire
    form is read; its weights are not loaded.

    \b
    arriero prompts show -m llama3.1-8b --tool python "What is 23 * 47?"
    """
    from .invocation import finish, settings_of
    from .prompt_page import show_prompt
    from .tool_commands import reporting

    settings = settings_of(options)
    asked = " ".join(question).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    finish(lambda: reporting(lambda: show_prompt(settings, asked, date)), debug=settings.debug)
