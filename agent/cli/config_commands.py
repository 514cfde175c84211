"""``arriero config`` and ``arriero completion``: what is set, where, and help for the shell."""

import json
from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import get_completion_class

from .config import Value, default_map, files, load, settable, user_file
from .options import CONTEXT, Choice

_NEW_FILE = "# Settings of arriero: the long options of the command line, for example\n# temperature = 0\n"
_SHELLS = ("bash", "zsh", "fish")


@click.group(context_settings=CONTEXT)
def config() -> None:
    """Show what is set and where, or edit your own file.

    An option on the command line wins over the environment (ARRIERO_…), that over arriero.toml in the working
    folder, that over your own file, and that over the default.
    """


@config.command("show", context_settings=CONTEXT)
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.pass_context
def show(ctx: click.Context, origin: bool, as_json: bool) -> None:
    """Every setting with its value."""
    group, ask = _root(ctx)
    own = settable(ask)
    values = load(own)
    with click.Context(group, info_name="arriero", default_map=default_map(values, group, own)) as root:
        inner = ask.make_context("ask", [], parent=root)
    rows = {_shown(option): _row(option, inner, values) for option in own.values()}
    if as_json:
        click.echo(json.dumps({k: {"value": v, "origin": o} for k, (v, o) in rows.items()}, default=str))
        return
    width = max(map(len, rows))
    for name, (value, where) in rows.items():
        text = "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
        click.echo(
            f"{name:<{width}} = {text:<16}  {where}".rstrip() if origin else f"{name} = {text}".rstrip()
        )


def setting(ctx: click.Context, name: str) -> Any:
    """What a question would have for the option of that parameter name: by environment, files, or default."""
    group, ask = _root(ctx)
    own = settable(ask)
    values = load(own)
    with click.Context(group, info_name="arriero", default_map=default_map(values, group, own)) as root:
        return ask.make_context("ask", [], parent=root).params[name]


def _root(ctx: click.Context) -> tuple[click.Group, click.Command]:
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    return group, group.commands["ask"]


def _shown(option: click.Option) -> str:
    return max(option.opts, key=len).removeprefix("--")


def _row(option: click.Option, ctx: click.Context, values: Mapping[str, Value]) -> tuple[Any, str]:
    name = str(option.name)
    match ctx.get_parameter_source(name):
        case ParameterSource.ENVIRONMENT:
            where = str(option.resolve_envvar_value(ctx) and option.envvar)
        case ParameterSource.DEFAULT_MAP:
            where = str(values[name].origin)
        case _:
            where = "default"
    return ctx.params.get(name), where


@config.command("path", context_settings=CONTEXT)
def path() -> None:
    """The files that are read; the later one wins."""
    for file in files():
        click.echo(f"{file}{'' if file.is_file() else '  (not there)'}")


@config.command("edit", context_settings=CONTEXT)
def edit() -> None:
    """Open your own file in $EDITOR, and check it afterwards."""
    file = user_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(_NEW_FILE, encoding="utf-8")
    click.edit(filename=str(file))
    load(settable(_root(click.get_current_context())[1]))


@click.command(context_settings=CONTEXT)
@click.argument("shell", type=Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash   eval "$(arriero completion bash)"      in ~/.bashrc
    zsh    eval "$(arriero completion zsh)"       in ~/.zshrc
    fish   arriero completion fish | source       in ~/.config/fish/config.fish
    """
    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(root, {}, "arriero", "_ARRIERO_COMPLETE").source())


def apply(ctx: click.Context) -> None:
    """Give the commands under ``ctx`` the values of the configuration files as their defaults."""
    group, ask = _root(ctx)
    if ctx.resilient_parsing or ctx.invoked_subcommand in (config.name, completion.name):
        return
    own = settable(ask)
    ctx.default_map = default_map(load(own), group, own)
