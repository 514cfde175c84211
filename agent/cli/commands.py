"""The slash commands of a conversation, as one table."""

import base64
import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .attachments import read

if TYPE_CHECKING:
    from .chat import Chat

_BAR: Final = 40  # cells


class Leave(Exception):
    """Raised by a command that ends the conversation."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how it is written, what it does in a few words, and the doing."""

    usage: str
    help: str
    run: Callable[["Chat", str], None]


def find(name: str) -> str | None:
    """The command that a mistyped name comes closest to."""
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return close[0] if close else None


def _help(chat: "Chat", rest: str) -> None:
    wanted = rest.lstrip("/")
    if wanted and wanted not in COMMANDS:
        chat.complain(f"no command is called /{wanted}")
        return
    shown = [COMMANDS[wanted]] if wanted else list(COMMANDS.values())
    width = max(len(command.usage) for command in shown) + 3
    chat.say("\n".join(f"/{command.usage:<{width}}{command.help}" for command in shown), "")
    if not wanted:
        chat.say(
            "\n!code runs Python where the model's code runs; //text asks a question that begins with /.\n"
            "Alt-Enter or Ctrl-J begins a new line; Ctrl-C stops an answer and keeps what is there; Ctrl-D leaves."
        )


def _tools(chat: "Chat", rest: str) -> None:
    session = chat.session
    if not rest:
        if not session.tools:
            chat.say("no tools")
        for name in session.tools:
            chat.say(f"{name:<10}{'off' if name in session.off else 'on'}", "")
        for line in [*session.notices, *session.hints]:
            chat.say(line)
        return
    state, _, name = rest.partition(" ")
    if state not in ("on", "off") or name not in session.tools:
        known = ", ".join(session.tools) or "none work here"
        chat.complain(f"write /tools on NAME or /tools off NAME; tools: {known}")
        return
    if state == "off":
        session.off.add(name)
    else:
        session.off.discard(name)
    _begin_anew(chat, f"{name} is {state}")


def _model(chat: "Chat", rest: str) -> None:
    if not rest:
        model = chat.session.model
        chat.say(
            f"{model.name}, {model.context_length:,} tokens of context, form {chat.session.agent.dialect.name}",
            "",
        )
        return
    chat.load_model(rest)
    chat.say(f"the model is {chat.session.model.name}; the conversation begins anew")


def _system(chat: "Chat", rest: str) -> None:
    session = chat.session
    if not rest:
        chat.say(session.agent.instructions, "")
        return
    session.settings = replace(session.settings, instructions=rest)
    _begin_anew(chat, "the instructions are changed")


def _begin_anew(chat: "Chat", what: str) -> None:
    had = bool(chat.session.conversation.messages)
    chat.session.renew()
    chat.say(f"{what}; the conversation begins anew" if had else what)


_PARAMS: Final[dict[str, tuple[type[float] | type[int], float, float]]] = {
    "temperature": (float, 0.0, 100.0),
    "top_p": (float, 0.0, 1.0),
    "top_k": (int, 0, 2**31 - 1),
    "min_p": (float, 0.0, 1.0),
    "seed": (int, 0, 2**32 - 1),
    "max_steps": (int, 1, 2**31 - 1),
    "max_tokens": (int, 1, 2**31 - 1),
}
_OF_LIMITS: Final = ("max_steps", "max_tokens")


def _params(chat: "Chat", rest: str) -> None:
    agent = chat.session.agent
    for pair in rest.split():
        name, equals, text = pair.partition("=")
        if name not in _PARAMS or not equals:
            chat.complain(f"write NAME=VALUE with one of {', '.join(_PARAMS)}")
            return
        kind, least, most = _PARAMS[name]
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            chat.complain(f"{name} should be a number from {least:g} to {most:g}, not {text!r}")
            return
        change: dict[str, Any] = {name: value}
        if name in _OF_LIMITS:
            agent.limits = replace(agent.limits, **change)
        else:
            agent.sampling = replace(agent.sampling, **change)
    shown = {name: getattr(agent.limits if name in _OF_LIMITS else agent.sampling, name) for name in _PARAMS}
    chat.say("  ".join(f"{name}={value}" for name, value in shown.items()), "")


def _undo(chat: "Chat", rest: str) -> None:
    question = _take_back(chat)
    if question is None:
        chat.complain("there is nothing to take back")
    else:
        chat.say(f"took back: {question.splitlines()[0][:60] if question else ''}")


def _take_back(chat: "Chat") -> str | None:
    conversation = chat.session.conversation
    asked = [message.content for message in conversation.messages if message.role == "user"]
    return asked[-1] if conversation.undo() and asked else None


def _retry(chat: "Chat", rest: str) -> None:
    question = _take_back(chat)
    if question is None:
        chat.complain("there is nothing to ask again")
    else:
        chat.put(question)


def _clear(chat: "Chat", rest: str) -> None:
    chat.session.conversation.clear()
    chat.last_call = None
    chat.say("the conversation begins anew; variables in Python stay")


def _tokens(chat: "Chat", rest: str) -> None:
    used, total = chat.context
    filled = min(_BAR, round(_BAR * used / total))
    full, empty = chat.terminal.symbol("█", "#"), chat.terminal.symbol("░", ".")
    chat.say(
        f"{full * filled}{empty * (_BAR - filled)}  {used:,} of {total:,} tokens, {total - used:,} free", ""
    )


def _attach(chat: "Chat", rest: str) -> None:
    if rest:
        path = Path(rest.strip("\"'")).expanduser()
        read([path])
        chat.attached.append(path)
    chat.say(
        "\n".join(f"{path} comes with the next question" for path in chat.attached) or "nothing is attached"
    )


def _edit(chat: "Chat", rest: str) -> None:
    import click

    written = click.edit(rest or chat.last_question or "", extension=".md")
    if written is None or not written.strip():
        chat.say("nothing was sent")
    else:
        chat.ask(written.strip())


def _copy(chat: "Chat", rest: str) -> None:
    answers = [m.content for m in chat.session.conversation.messages if m.role == "assistant" and m.content]
    if not answers:
        chat.complain("there is no answer to copy")
        return
    # The terminal's own request (OSC 52) reaches the clipboard of the person's machine, over SSH too.
    data = base64.b64encode(answers[-1].encode()).decode("ascii")
    chat.terminal.stream.write(f"\x1b]52;c;{data}\a")
    chat.terminal.stream.flush()
    chat.say("sent the last answer to the clipboard, where the terminal allows it")


def _stats(chat: "Chat", rest: str) -> None:
    used = chat.usage
    chat.say(
        f"{used.prompt_tokens:,} tokens read, {used.output_tokens:,} written, {used.tool_calls:,} tool calls, "
        f"{used.seconds:.1f} s" + (f", {chat.speed:.1f} tokens/s in the last answer" if chat.speed else ""),
        "",
    )


def _last(chat: "Chat", rest: str) -> None:
    chat.show_last_call()


def _quit(chat: "Chat", rest: str) -> None:
    raise Leave


COMMANDS: Final[dict[str, Command]] = {
    "help": Command("help [COMMAND]", "what can be entered here", _help),
    "tools": Command("tools [on|off NAME]", "show the tools, or switch one", _tools),
    "model": Command("model [FILE]", "show the model, or load another", _model),
    "system": Command("system [TEXT]", "show the instructions, or change them", _system),
    "params": Command("params [NAME=VALUE]...", "show or change sampling and limits", _params),
    "undo": Command("undo", "take back the last question and its answer", _undo),
    "retry": Command("retry", "ask the last question again", _retry),
    "clear": Command("clear", "forget the conversation", _clear),
    "tokens": Command("tokens", "how full the context is", _tokens),
    "last": Command("last", "show the last tool call whole", _last),
    "attach": Command(
        "attach [FILE]", "have a file come with the next question; @FILE in it does too", _attach
    ),
    "edit": Command("edit [TEXT]", "write a question in $EDITOR (also Ctrl-X Ctrl-E)", _edit),
    "copy": Command("copy", "copy the last answer", _copy),
    "stats": Command("stats", "tokens, calls and time so far", _stats),
    "quit": Command("quit", "leave (Ctrl-D)", _quit),
}
