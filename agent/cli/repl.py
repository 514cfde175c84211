"""``arriero`` alone: a conversation until the user leaves."""

import sys
import time
from importlib.metadata import version

from arriero.agent.backends import ModelError
from arriero.prompts import ArrieroError

from .chat import Chat
from .commands import COMMANDS
from .exits import Exit, NotReady
from .keys import keys_kept
from .oneshot import opened, say_error
from .prompt import Editor
from .session import DEMONSTRATION
from .settings import BUNDLED, Settings
from .terminal import Terminal
from .told import untold

_TWICE = 2.0  # seconds within which a second Ctrl-C leaves


def converse(settings: Settings) -> Exit:
    """Talk until Ctrl-D, ``/quit``, or Ctrl-C twice on an empty line; returns the exit code."""
    terminal = Terminal.detect(sys.stdout, plain=settings.plain)
    try:
        with keys_kept(), opened(settings, terminal) as session:
            chat = Chat(session, terminal)
            if not settings.quiet:
                _greet(chat)
            _loop(chat, Editor(terminal, chat.status, COMMANDS))
    except ArrieroError as error:
        if settings.debug:
            raise
        say_error(str(error))
        return Exit.NOT_READY if isinstance(error, (NotReady, ModelError)) else Exit.FAILED
    return Exit.OK


def _greet(chat: Chat) -> None:
    session = chat.session
    chat.say(f"arriero {version('arriero')} {chat.terminal.symbol('·', '-')} {session.model.name}", "bold")
    if session.settings.model == BUNDLED:
        chat.say(DEMONSTRATION)
    lines = [session.sandbox_line, *session.notices, *untold(session.hints)]
    for line in dict.fromkeys(line for line in lines if line):
        chat.say(line)
    chat.say("/help shows what can be entered; Ctrl-D leaves")


def _loop(chat: Chat, editor: Editor) -> None:
    pressed = -_TWICE
    while True:
        try:
            line = editor.read()
        except EOFError:
            return
        except KeyboardInterrupt:
            if time.monotonic() - pressed < _TWICE:
                return
            pressed = time.monotonic()
            chat.say("Ctrl-C once more or Ctrl-D leaves")
            continue
        if not chat.take(line):
            return
