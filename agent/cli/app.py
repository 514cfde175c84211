"""The command ``arriero``: a question, a conversation, or one of the subcommands."""

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from . import (
    batch_commands,
    config_commands,
    eval_commands,
    log_commands,
    model_commands,
    prompt_commands,
    safety_commands,
    session_commands,
    task_commands,
)
from .exits import Exit
from .invocation import finish, settings_of
from .options import CONTEXT, with_options
from .terminal import forgiving

_QUESTION_LIMIT: Final = 64 * 1024 * 1024  # bytes read from stdin; far beyond any context
_DEFAULT: Final = "ask"


class QuestionGroup(click.Group):
    """A group whose first argument may also be a question: what is no subcommand goes to ``ask``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if ctx.resilient_parsing else self._route(ctx, args))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands, and what a question takes."""
        return [
            *super().shell_complete(ctx, incomplete),
            *self.commands[_DEFAULT].shell_complete(ctx, incomplete),
        ]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to call it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] [QUESTION]...")
        formatter.write_usage(ctx.command_path, "COMMAND [OPTIONS]...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of ``ask`` too, since they are what a question takes."""
        ask = self.commands[_DEFAULT]
        options = [p for p in (*ask.params, *self.get_params(ctx)) if isinstance(p, click.Option)]
        with click.Context(ask, info_name=ctx.info_name, parent=ctx.parent) as inner:
            records = [record for option in options if (record := option.get_help_record(inner))]
        with formatter.section("Options"):
            formatter.write_dl(records)
        self.format_commands(ctx, formatter)

    def _route(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for param in self.get_params(ctx) for name in param.opts}
        if args and (args[0] in own or args[0] in self.commands):
            return args
        ask = self.commands[_DEFAULT]
        with click.Context(ask, info_name=_DEFAULT, parent=ctx) as inner:
            values: Mapping[str, Any] = ask.make_parser(inner).parse_args(list(args))[0]
        found = values.get("question")
        words = found if isinstance(found, tuple) else ()
        if len(words) == 1 and words[0] in self.commands and "--" not in args:
            args.remove(words[0])
            return [words[0], *args]
        if words and "--" not in args:
            self._refuse_typo(ctx, words)
        return [_DEFAULT, *args]

    def _refuse_typo(self, ctx: click.Context, words: Sequence[str]) -> None:
        word, *more = words
        for close in difflib.get_close_matches(word, self.commands, n=1, cutoff=0.75):
            command = self.commands[close]
            # Words of a question may come close to a command; with what it takes behind them they hardly do.
            if not more or (isinstance(command, click.Group) and more[0] in command.commands):
                raise click.UsageError(
                    f"no command is called {word!r}; did you mean {close!r}? "
                    f"To ask it as a question: arriero ask {' '.join(words)}",
                    ctx,
                )


def _decoded(ctx: click.Context, param: click.Parameter, words: tuple[str, ...]) -> str:
    # Bytes that are no UTF-8 arrive as lone surrogates, which no tokenizer takes.
    return " ".join(words).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@click.group(cls=QuestionGroup, context_settings=CONTEXT, no_args_is_help=False)
@click.version_option(None, "-V", "--version", package_name="arriero", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Drive Llama 3.x models through tool-using work on your own machine.

    \b
    arriero "What is 23 * 47?"         one question, the answer on stdout
    arriero                            a conversation
    cat notes.txt | arriero "sum up"   a question about text

    Exit codes: 0 answered, 1 failed, 2 wrong usage, 4 a limit was reached, 5 blocked, 6 not ready (see
    doctor), 130 interrupted.
    """
    config_commands.apply(ctx)


cli.add_command(config_commands.config)
cli.add_command(config_commands.completion)
cli.add_command(eval_commands.evaluate)
cli.add_command(log_commands.logs)
cli.add_command(model_commands.models)
cli.add_command(prompt_commands.prompts)
cli.add_command(safety_commands.safety)
eval_commands.evaluate.add_command(safety_commands.eval_safety)
for _command in (*session_commands.COMMANDS, *task_commands.COMMANDS, *batch_commands.COMMANDS):
    cli.add_command(_command)


@cli.command(_DEFAULT, context_settings={**CONTEXT, "ignore_unknown_options": False})
@click.argument("question", nargs=-1, callback=_decoded)
@with_options
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file that comes with the question (repeatable).",
)
@click.option(
    "--json", is_flag=True, help="Events on stdout, one JSON object a line; the last is run_finished."
)
def ask(question: str, **options: Any) -> None:
    """Answer one question; text on stdin comes before it."""
    piped = _read_stdin()
    if not question.strip() and not (piped and piped.strip()):
        if question or piped is not None or options["json"] or not _person_present():
            raise click.UsageError('the question is empty; ask like this: arriero "What is 23 * 47?"')
        _chat(options)
        return
    from .oneshot import ask as answer
    from .oneshot import with_input

    settings, whole = settings_of(options), with_input(question, piped or "")
    finish(lambda: answer(settings, whole), debug=settings.debug)


@cli.command(context_settings=CONTEXT)
@with_options
def chat(**options: Any) -> None:
    """Have a conversation; what ``arriero`` alone does on a terminal."""
    if not _person_present():
        raise click.UsageError('a conversation needs a terminal; one question: arriero "What is 23 * 47?"')
    _chat(options)


@cli.command(context_settings=CONTEXT)
@with_options
@click.option("-v", "--verbose", is_flag=True, help="Everything that was looked at, not only what is ill.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def doctor(verbose: bool, as_json: bool, **options: Any) -> None:
    """Check build, model, memory, sandbox, kernel, keys, screens and terminal; exit code 6 when not ready."""
    from .doctor import examine

    settings = settings_of(options)
    finish(lambda: examine(settings, verbose=verbose, as_json=as_json), debug=settings.debug)


@cli.group(context_settings=CONTEXT)
def tools() -> None:
    """List the tools, show what a model sees of one, or call one by hand."""


@tools.command("list", context_settings=CONTEXT)
@with_options
def tools_list(**options: Any) -> None:
    """Which tools work here, and what the others need."""
    from .tool_commands import list_tools, reporting

    settings = settings_of(options)
    finish(lambda: reporting(lambda: list_tools(settings)), debug=settings.debug)


@tools.command("show", context_settings=CONTEXT)
@click.argument("name")
@with_options
def tools_show(name: str, **options: Any) -> None:
    """The name, description and parameters that a model is given, as JSON."""
    from .tool_commands import reporting, show_tool

    settings = settings_of(options)
    finish(lambda: reporting(lambda: show_tool(settings, name)), debug=settings.debug)


@tools.command("call", context_settings=CONTEXT)
@click.argument("name")
@click.option("--arg", "arguments", multiple=True, metavar="KEY=VALUE", help="An argument (repeatable).")
@with_options
def tools_call(name: str, arguments: tuple[str, ...], **options: Any) -> None:
    """Run one call and print its result.

    \b
    arriero tools call python --arg code="print(6 * 7)"
    """
    from .tool_commands import call_tool, reporting

    settings = settings_of(options)
    finish(lambda: reporting(lambda: call_tool(settings, name, arguments)), debug=settings.debug)


def main(args: Sequence[str] | None = None) -> None:
    """The console script: runs the command line and ends the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        forgiving(stream)
    try:
        code = _run(args)
    except BrokenPipeError:
        code = Exit.PIPE
    except KeyboardInterrupt:
        # Loading may still sit in C code on a daemon thread, which an orderly exit would have to wait for.
        _flush()
        os._exit(Exit.INTERRUPTED)
    if not _flush():
        code = Exit.PIPE
    sys.exit(code)


def _run(args: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=None if args is None else list(args), prog_name="arriero", standalone_mode=False)
        return int(code or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code


def _chat(options: dict[str, Any]) -> None:
    from .repl import converse

    settings = settings_of(options)
    finish(lambda: converse(settings), debug=settings.debug)


def _person_present() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _read_stdin() -> str | None:
    """What was piped in; None where nothing can have been."""
    if sys.stdin is None or sys.stdin.isatty() or not _piped():
        return None
    data = sys.stdin.buffer.read(_QUESTION_LIMIT + 1)
    if len(data) > _QUESTION_LIMIT:
        raise click.UsageError(f"stdin holds over {_QUESTION_LIMIT // 2**20} MiB; no context can take it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(
            f"stdin is not text: byte {error.start} is no UTF-8; convert it first, for example with iconv"
        ) from error
    if "\0" in text:
        raise click.UsageError("stdin is not text: it holds zero bytes")
    return text


def _piped() -> bool:
    # /dev/null and other devices hold no question, and reading some would never end.
    import stat

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return True  # a stand-in for a file
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _flush() -> bool:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at exit and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
