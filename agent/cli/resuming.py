"""``arriero sessions resume``: what a run left unfinished, then a question or a conversation."""

import sys
from collections.abc import Mapping

from arriero.agent.approval import shown_call
from arriero.prompts import ArrieroError

from .display import Display, PlainSink
from .exits import Exit
from .oneshot import answer, opened, say_error
from .repl import converse
from .session import Session
from .settings import Settings
from .terminal import Terminal, neutral


def resume(settings: Settings, question: str, decisions: Mapping[str, bool]) -> Exit:
    """Go on with the session of the settings; without a question, a person at the terminal goes on talking."""
    terminal = Terminal.detect(sys.stderr, plain=settings.plain)
    try:
        with opened(settings, terminal) as session:
            code = _unfinished(session, terminal, decisions)
            if code is not Exit.OK:
                return code
            if question.strip():
                display = Display(PlainSink(sys.stdout), terminal, quiet=settings.quiet)
                return answer(session, question, display, settings)
    except ArrieroError as error:
        if settings.debug:
            raise
        say_error(str(error))
        return Exit.FAILED
    return converse(settings) if sys.stdin.isatty() and sys.stdout.isatty() else Exit.OK


def _unfinished(session: Session, terminal: Terminal, decisions: Mapping[str, bool]) -> Exit:
    if not session.conversation.unfinished:
        return Exit.OK
    display = Display(PlainSink(sys.stdout), terminal, quiet=session.settings.quiet)
    code = answer(session, None, display, session.settings, decisions)
    pending = session.conversation.pending
    for call in pending.to_decide if pending else ():
        shown = neutral(shown_call(call.name, call.arguments))
        name = session.settings.session
        say_error(
            f"{shown} waits: arriero sessions resume {name} --again {call.id} runs it, --skip {call.id} does not"
        )
    return code
