"""The slash commands of a conversation, as one table."""

import difflib
from textwrap import fill
from typing import TYPE_CHECKING, Final

from . import slash_entries, slash_sessions, slash_setup
from .slash_command import Command, Leave

if TYPE_CHECKING:
    from .chat import Chat


def known(name: str) -> Command | None:
    """The command of that name, or that another name stands for."""
    return COMMANDS.get(ALIASES.get(name, name))


def closest(name: str) -> str | None:
    """The command that a mistyped name comes closest to."""
    close = difflib.get_close_matches(name, [*COMMANDS, *ALIASES], n=1)
    return close[0] if close else None


def unknown(name: str) -> str:
    """What to say of a name that no command has."""
    close = closest(name)
    hint = f"did you mean /{close}?" if close else "see /help"
    return f"no command is called /{name}; {hint}"


def _help(chat: "Chat", rest: str) -> None:
    wanted = rest.lstrip("/")
    command = known(wanted) if wanted else None
    if wanted and command is None:
        chat.complain(unknown(wanted))
        return
    shown = [command] if command else list(COMMANDS.values())
    width = max(len(one.usage) for one in shown) + 3
    if width > chat.terminal.width / 2:
        indent = 4
        lines = [line for one in shown for line in (f"/{one.usage}", " " * indent + one.help)]
    else:
        indent = width + 1
        lines = [f"/{one.usage:<{width}}{one.help}" for one in shown]
    wrapped = (fill(line, chat.terminal.width, subsequent_indent=" " * indent) for line in lines)
    chat.say("\n".join(wrapped), "")
    if not wanted:
        chat.say(
            "\n!code runs Python where the model's code runs; //text asks a question that begins with /.\n"
            "@FILE in a question brings the file; Alt-Enter or Ctrl-J begins a new line, and three quotes at both "
            "ends hold several; Ctrl-R searches the history.\n"
            "Esc or Ctrl-C stops an answer and keeps what is there; Ctrl-D leaves."
        )


def _quit(chat: "Chat", rest: str) -> None:
    raise Leave


COMMANDS: Final[dict[str, Command]] = {
    command.name: command
    for command in (
        Command("help [COMMAND]", "what can be entered here", _help, words=lambda chat: COMMANDS),
        *slash_entries.COMMANDS,
        *slash_sessions.COMMANDS,
        *slash_setup.COMMANDS,
        Command("quit", "leave (Ctrl-D)", _quit),
    )
}
ALIASES: Final = {
    "tokens": "context",
    "load": "resume",
    "image": "attach",
    "show": "show-tools",
    "new": "reset",
    "exit": "quit",
}
