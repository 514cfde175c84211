"""The line that the user types on: editing, history, keys."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from .settings import state_folder
from .terminal import Terminal

_MARGIN = 4  # columns that the prompt itself and the cursor take


class Editor:
    """Reads entries from the terminal.

    ``toolbar`` gives the line at the bottom of the screen; ``commands`` are completed after a ``/``, paths after
    ``@``. Enter ends an entry; Alt-Enter and Ctrl-J begin a new line; a paste of several lines stays one entry.
    """

    def __init__(self, terminal: Terminal, toolbar: Callable[[], str], commands: Iterable[str]) -> None:
        self._terminal = terminal
        self._session: PromptSession[str] = PromptSession(
            history=open_history(),
            key_bindings=_bindings(),
            multiline=True,
            bottom_toolbar=lambda: toolbar()[: terminal.width - 1],
            auto_suggest=AutoSuggestFromHistory(),
            completer=EntryCompleter(tuple(commands)),
            complete_while_typing=False,
            enable_open_in_editor=True,
            enable_history_search=True,
            prompt_continuation=lambda width, number, wrapped: " " * width,
            color_depth=None if terminal.colour else ColorDepth.DEPTH_1_BIT,
            style=Style.from_dict(
                {"bottom-toolbar": "noreverse dim", "bottom-toolbar.text": "noreverse dim"}
            ),
        )

    def read(self) -> str:
        """The next entry. Raises EOFError on Ctrl-D and KeyboardInterrupt on Ctrl-C, both on an empty line."""
        return self._session.prompt(f"{self._terminal.symbol('›', '>')} ")


class PrivateHistory(FileHistory):
    """A history that keeps no entry that begins with a space, in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        path.chmod(0o600)
        super().__init__(path)

    def store_string(self, string: str) -> None:
        """Write one entry, unless the user asked not to."""
        if not string.startswith(" "):
            super().store_string(string)


def open_history() -> History:
    """The history file in the state folder; in memory with ``ARRIERO_NO_HISTORY`` or where no file can be had."""
    if os.environ.get("ARRIERO_NO_HISTORY"):
        return InMemoryHistory()
    try:
        return PrivateHistory(state_folder() / "history")
    except OSError:
        return InMemoryHistory()


class EntryCompleter(Completer):
    """Completes the name of a slash command, and paths after ``@`` and after commands that take a file."""

    def __init__(self, commands: tuple[str, ...], with_paths: tuple[str, ...] = ("attach", "model")) -> None:
        self._commands = commands
        self._with_paths = with_paths
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if text.startswith("/") and not text.startswith("//"):
            name, space, rest = text[1:].partition(" ")
            if not space:
                for command in self._commands:
                    if command.startswith(name):
                        yield Completion(f"/{command}", start_position=-len(text))
            elif name in self._with_paths:
                yield from self._paths.get_completions(Document(rest), complete_event)
            return
        word = text.rpartition(" ")[2].rpartition("\n")[2]
        if word.startswith("@"):
            yield from self._paths.get_completions(Document(word[1:]), complete_event)


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    @bindings.add("c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return bindings
