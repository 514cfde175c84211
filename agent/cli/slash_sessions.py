"""Slash commands for sessions: list, name, go on with, branch, export, begin anew."""

import shlex
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arriero.agent.journal.export import FORMS
from arriero.agent.journal.export import export as exported

from .artifacts import write_new
from .slash_command import Command
from .status_line import fit
from .terminal import neutral

if TYPE_CHECKING:
    from .chat import Chat

_LISTED: Final = 10


def _sessions(chat: "Chat", rest: str) -> None:
    journal = chat.session.open_journal
    found = [hit.session for hit in journal.search(rest)] if rest else journal.sessions(limit=_LISTED)
    here = chat.session.conversation.id
    width = max((len(one.shown) for one in found), default=0)
    for info in {one.id: one for one in found}.values():
        when = time.strftime("%d %b %H:%M", time.localtime(info.updated))
        mark = chat.terminal.symbol("›", ">") if info.id == here else " "
        title = " ".join(neutral(info.title).split())
        chat.say(fit(f"{mark} {info.shown:{width}}  {when}  {title}", chat.terminal.width), "")
    if not found:
        chat.say(
            "no session holds these words"
            if rest
            else "no sessions yet; this one is kept from its first answer on"
        )


def _save(chat: "Chat", rest: str) -> None:
    journal, session = chat.session.open_journal, chat.session.conversation.id
    if not rest:
        info = journal.session(session)
        chat.say(f"this session is {info.shown} and kept as it goes; /save NAME gives it a name")
        return
    name = journal.rename(session, rest).shown
    chat.say(f"this session is called {name}; arriero --session {shlex.quote(name)} goes on with it")


def _resume(chat: "Chat", rest: str) -> None:
    if not rest:
        _sessions(chat, "")
        chat.say("/resume NAME goes on with one of them")
        return
    chat.session.go_on_with(rest)
    chat.forget()
    chat.show_where_it_stands()


def _fork(chat: "Chat", rest: str) -> None:
    forked = chat.session.fork(rest or None)
    chat.say(f"this is now {forked}; what it comes from stays as it was")


def _export(chat: "Chat", rest: str) -> None:
    form, _, file = rest.partition(" ")
    if form not in FORMS and (by_name := Path(form).suffix.lstrip(".")) in FORMS:
        form, file = by_name, rest
    if form not in FORMS:
        chat.complain(f"write /export FORM [FILE] with one of {', '.join(FORMS)}, or /export FILE")
        return
    session = chat.session.conversation.id
    text = exported(chat.session.open_journal, session, form)
    path = Path(file.strip() or f"session-{session[:8]}.{form}").expanduser()
    write_new(path, text.encode("utf-8", "replace"))
    chat.say(f"saved {path}")


def _reset(chat: "Chat", rest: str) -> None:
    chat.session.begin()
    chat.forget()
    chat.say("this is a new session, with a Python of its own")


def _names(chat: "Chat") -> Iterable[str]:
    return (info.shown for info in chat.session.open_journal.sessions(limit=100))


COMMANDS: Final = (
    Command("sessions [WORDS]", "the latest sessions, or those that hold the words", _sessions),
    Command("save [NAME]", "give this session a name", _save),
    Command("resume [SESSION]", "go on with another session", _resume, words=_names),
    Command("fork [NAME]", "branch off: go on in a copy of this session", _fork),
    Command(
        "export FORM [FILE]", f"write this session as {', '.join(FORMS)}", _export, words=lambda chat: FORMS
    ),
    Command("reset", "begin a new session; this one is kept", _reset),
)
