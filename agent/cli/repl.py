"""``arriero`` alone: a conversation until the user leaves."""

import shlex
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version

from arriero.prompts import ArrieroError

from .chat import Chat
from .errors import say_error
from .exits import Exit, error_code
from .keys import keys_kept
from .oneshot import opened
from .prompt import Editor, EntryCompleter
from .session import DEMONSTRATION
from .settings import BUNDLED, Settings
from .slash import COMMANDS, known
from .terminal import Terminal
from .told import untold

_TWICE = 2.0  # seconds within which a second Ctrl-C leaves


def converse(settings: Settings, *, told: bool = False) -> Exit:
    """Talk until Ctrl-D, ``/quit``, or Ctrl-C twice on an empty line; returns the exit code.

    Of a session that goes on the last question and answer are shown, unless they were ``told`` already.
    """
    terminal = Terminal.detect(sys.stdout, plain=settings.plain)
    try:
        with keys_kept(), opened(settings, terminal) as session:
            chat = Chat(session, terminal)
            if not settings.quiet:
                _greet(chat)
                if session.conversation.messages and not told:
                    chat.show_where_it_stands()
            editor = Editor(terminal, chat.status, completer_for(chat))
            session.runner.watch = editor.meanwhile.watched
            _loop(chat, editor)
            if not settings.quiet:
                _say_how_to_go_on(chat)
    except ArrieroError as error:
        if settings.debug:
            raise
        say_error(error)
        return error_code(error)
    return Exit.OK


def _greet(chat: Chat) -> None:
    session = chat.session
    chat.say(f"arriero {version('arriero')} {chat.terminal.symbol('·', '-')} {session.model.name}", "bold")
    if session.settings.model == BUNDLED:
        chat.say(DEMONSTRATION)
    hints = [*session.toolbox.hints, *([chat.pictures.hint] if chat.pictures.hint else [])]
    lines = [session.toolbox.sandbox_line, *session.toolbox.notices, *untold(hints)]
    for line in dict.fromkeys(line for line in lines if line):
        chat.say(line)
    chat.say("/help shows what can be entered; Ctrl-D leaves")


def completer_for(chat: Chat) -> EntryCompleter:
    def words(name: str) -> Iterable[str]:
        command = known(name)
        try:
            return command.words(chat) if command and command.words else ()
        except (ArrieroError, OSError):
            return ()

    names = [name if command.usage == name else f"{name} " for name, command in COMMANDS.items()]
    return EntryCompleter(names, words, [name for name, command in COMMANDS.items() if command.paths])


def _say_how_to_go_on(chat: Chat) -> None:
    session = chat.session
    if session.journal is not None and session.conversation.messages:
        name = session.journal.session(session.conversation.id).shown
        chat.say(f"go on with this conversation: arriero --session {shlex.quote(name)}")


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
