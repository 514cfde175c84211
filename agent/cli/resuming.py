"""``arriero sessions resume``: what a run left unfinished, then a question or a conversation."""

import sys
from collections.abc import Mapping

from arriero.agent.approval import Decided, shown_call
from arriero.agent.journal import Journal
from arriero.prompts import ArrieroError

from .display import Display
from .errors import say_error
from .exits import Exit, error_code
from .oneshot import answer, opened, plain_display
from .repl import converse
from .session import Session
from .settings import Settings
from .terminal import Terminal, neutral


def resume(settings: Settings, question: str, decisions: Mapping[str, Decided]) -> Exit:
    """Go on with the session of the settings; without a question, a person at the terminal goes on talking."""
    terminal = Terminal.detect(sys.stderr, plain=settings.plain)
    try:
        _check_that_it_is_there(str(settings.session))
        with opened(settings, terminal) as session:
            if code := _misled(session, decisions):
                return code
            told = session.conversation.unfinished
            code = _unfinished(session, terminal, decisions)
            if code is not Exit.OK:
                return code
            if question.strip():
                return answer(session, question, _display(session, terminal), settings)
    except ArrieroError as error:
        if settings.debug:
            raise
        say_error(error)
        return error_code(error)
    return converse(settings, told=told) if sys.stdin.isatty() and sys.stdout.isatty() else Exit.OK


def _misled(session: Session, decisions: Mapping[str, Decided]) -> Exit | None:
    """Say which calls there are to decide where a decision is about another; None where all fit."""
    pending = session.conversation.pending
    waiting = [call.id for call in pending.open_calls] if pending else []
    if wrong := [call for call in decisions if call not in waiting]:
        there_are = f"there are {', '.join(waiting)}" if waiting else "none does"
        say_error(f"no call {wrong[0]} waits in this session; {there_are}")
        return Exit.USAGE
    return None


def _check_that_it_is_there(name: str) -> None:
    """A name that no session has would begin a new one. Raises UnknownSession."""
    journal = Journal()
    try:
        journal.session(name)
    finally:
        journal.close()


def _unfinished(session: Session, terminal: Terminal, decisions: Mapping[str, Decided]) -> Exit:
    if not session.conversation.unfinished:
        return Exit.OK
    code = answer(session, None, _display(session, terminal), session.settings, decisions)
    pending = session.conversation.pending
    for call in pending.to_decide if pending else ():
        shown = neutral(shown_call(call.name, call.arguments))
        name = session.settings.session
        say_error(
            f"{shown} waits: arriero sessions resume {name} --again {call.id} runs it, --skip {call.id} does not, "
            f"--edit {call.id} ARGUMENTS changes it"
        )
    return code


def _display(session: Session, terminal: Terminal) -> Display:
    display = plain_display(session.settings, terminal)
    display.watch(session.progress)
    return display
