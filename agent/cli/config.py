"""Configuration files: values for the options, where each comes from, and what a project's file may not say."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

PROJECT_FILE: Final = "arriero.toml"
_KEPT_FOR_THE_USER: Final = frozenset(
    {
        "approve",
        "ask",
        "deny",
        "journal",
        "mcp",
        "mcp_files",
        "model",
        "python",
        "quiet",
        "safety",
        "sandbox",
        "show_tools",
        "unsafe_no_sandbox",
    }
)
"""What could weaken a guard, start a program, hide what is done or keep what is said: a file that came with
somebody's project must not decide it."""
_NEVER: Final = frozenset({"files", "help", "json", "latest", "question", "version"})


@dataclass(frozen=True, slots=True)
class Value:
    """A value for an option and the file that says so."""

    value: Any
    origin: Path


def user_file() -> Path:
    """The user's own file: ``config.toml`` in ``$ARRIERO_HOME``, else in the platform's configuration folder."""
    home = os.environ.get("ARRIERO_HOME")
    if home:
        return Path(home).expanduser() / "config.toml"
    from platformdirs import user_config_path

    return user_config_path("arriero", appauthor=False) / "config.toml"


def files() -> tuple[Path, ...]:
    """The files that are read, the weakest first: the user's, then the project's in the working folder."""
    return user_file(), Path(PROJECT_FILE).absolute()


def load(options: Mapping[str, click.Option]) -> dict[str, Value]:
    """What the files say about ``options``, by parameter name; the project's file wins over the user's.

    Keys are the long names of the options (``max-steps`` or ``max_steps``). Raises click.UsageError for a file
    that is no TOML, an unknown key, or a key that a project's file may not have.
    """
    found: dict[str, Value] = {}
    for path in files():
        for name, value in _read(path, options):
            found[name] = Value(value, path)
    return found


def _read(path: Path, options: Mapping[str, click.Option]) -> Iterator[tuple[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: cannot be read: {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise click.UsageError(f"{path}: this is no TOML: {error}") from error
    for key, value in table.items():
        yield _checked(path, key, value, options)


def _checked(path: Path, key: str, value: Any, options: Mapping[str, click.Option]) -> tuple[str, Any]:
    spelled = key.replace("-", "_").lower()
    option = options.get(spelled)
    if option is None or option.name is None:
        close = difflib.get_close_matches(spelled, options, n=1)
        hint = f"; did you mean {close[0].replace('_', '-')!r}?" if close else ""
        raise click.UsageError(f"{path}: there is no setting {key!r}{hint}")
    if path.name == PROJECT_FILE and spelled in _KEPT_FOR_THE_USER:
        raise click.UsageError(
            f"{path}: {key!r} can only be set in your own file, {user_file()}, in the environment or on the "
            "command line: a project that you were given could use it against you"
        )
    if isinstance(value, dict) or (isinstance(value, list) and not option.multiple):
        raise click.UsageError(f"{path}: {key!r} takes one value")
    if option.multiple and not isinstance(value, list):
        raise click.UsageError(f"{path}: {key!r} takes a list")
    if isinstance(value, bool) != bool(option.is_flag):
        wanted = "true or false" if option.is_flag else "a value, not true or false"
        raise click.UsageError(f"{path}: {key!r} takes {wanted}")
    return option.name, value


def write_setting(name: str, value: str) -> Path:
    """Set a key in the user's own file, which keeps all else that it says; ``value`` is written as TOML.

    Returns the file. Raises click.UsageError where it is no TOML or cannot be written.
    """
    path = user_file()
    line = f"{name} = {value}\n"
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        before = tomllib.loads(text)
        written, found = re.subn(rf"(?m)^[ \t]*{name}[ \t]*=.*\n?", line, text, count=1)
        if not found:
            written = f"{line}{text}"
        if tomllib.loads(written) != before | tomllib.loads(line):
            raise click.UsageError(f"{path}: it cannot be told where to write {name}; arriero config edit")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f"{path.name}.new")
        with os.fdopen(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(written)
        beside.replace(path)
    except tomllib.TOMLDecodeError as error:
        raise click.UsageError(f"{path}: this is no TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: cannot be written: {error}") from error
    return path


def settable(command: click.Command) -> dict[str, click.Option]:
    """The options of a command that a file may set, by their long names with underscores."""
    found: dict[str, click.Option] = {}
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in _NEVER:
            found |= {
                name.removeprefix("--").replace("-", "_"): option
                for name in option.opts
                if name.startswith("--")
            }
    return found


def default_map(
    values: Mapping[str, Value], group: click.Group, own: Mapping[str, click.Option]
) -> dict[str, Any]:
    """The values as click wants them: for every command under ``group`` that has such an option.

    ``own`` are the options that a file sets. An argument of that name is another thing (what a ``model`` is set
    to is not what ``models rm`` deletes), and so is an option that takes something else.
    """
    options = {option.name: option for option in own.values()}
    return {
        name: default_map(values, command, own)
        if isinstance(command, click.Group)
        else {
            key: value.value
            for key, value in values.items()
            if not any(_differs(parameter, options[key]) for parameter in command.params)
        }
        for name, command in group.commands.items()
    }


def _differs(parameter: click.Parameter, option: click.Option) -> bool:
    if parameter.name != option.name:
        return False
    return isinstance(parameter, click.Argument) or type(parameter.type) is not type(option.type)
