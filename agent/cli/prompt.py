"""The line that the user types on: editing, history, keys."""

import asyncio
import os
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.styles import Style

from arriero.agent.files import fenced

from .quotes import is_open
from .settings import state_folder
from .terminal import Terminal
from .typed_ahead import TypedAhead

_PASTED_LINES = 30
_PASTED_CHARACTERS = 4000
_MARK = re.compile(r"\[pasted \d+ (?:lines|characters), \d+\]")
_TICK = 0.1


class Editor:
    """Reads entries from the terminal.

    ``toolbar`` gives the line at the bottom of the screen. Enter ends an entry; Alt-Enter and Ctrl-J begin a new
    line, and so does Enter between three quotes and three others; a paste of several lines stays one entry, and one
    of very many is shown as their number. ``meanwhile`` reads keys while no entry is read.
    """

    def __init__(self, terminal: Terminal, toolbar: Callable[[], str], completer: Completer) -> None:
        self._terminal = terminal
        self._pastes = Pastes()
        self._session: PromptSession[str] = PromptSession(
            history=open_history(),
            key_bindings=self._bindings(),
            multiline=True,
            bottom_toolbar=lambda: toolbar()[: terminal.width - 1],
            auto_suggest=AutoSuggestFromHistory(),
            completer=completer,
            complete_while_typing=False,
            enable_open_in_editor=True,
            enable_history_search=True,
            prompt_continuation=lambda width, number, wrapped: " " * width,
            color_depth=_depth(terminal),
            style=Style.from_dict(
                {"bottom-toolbar": "noreverse dim", "bottom-toolbar.text": "noreverse dim"}
            ),
        )
        self.meanwhile = TypedAhead(self._session.input, terminal)

    def read(self) -> str:
        """The next entry. Raises EOFError on Ctrl-D and KeyboardInterrupt on Ctrl-C, both on an empty line."""
        return self._pastes.whole(self._session.prompt(f"{self._terminal.symbol('›', '>')} "))

    def _bindings(self) -> KeyBindings:
        bindings = _bindings(self._pastes.shown)

        in_quotes = Condition(lambda: is_open(self._session.default_buffer.text))

        @bindings.add("enter", filter=in_quotes & ~is_searching)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @bindings.add("c-c", filter=~is_searching)
        def _(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.reset()
            else:
                event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

        return bindings


def changed(terminal: Terminal, text: str, suffix: str, wanted: Callable[[], bool]) -> str | None:
    """The text as the user changes it, with the keys of an entry; None on Ctrl-C and Ctrl-D, or once it is not
    ``wanted`` any more.

    Ctrl-X Ctrl-E opens it in $EDITOR, as a file whose name ends with ``suffix``.
    """
    keys = "Enter takes it, Alt-Enter begins a line, Ctrl-X Ctrl-E opens $EDITOR, Ctrl-C leaves it"
    terminal.stream.write(f"{textwrap.fill(keys, terminal.width - 1, break_on_hyphens=False)}\n")
    terminal.stream.flush()
    bindings = _bindings(_with_newlines)

    @bindings.add("c-c", filter=~is_searching)
    def _(event: KeyPressEvent) -> None:
        event.app.exit(exception=KeyboardInterrupt)

    session: PromptSession[str] = PromptSession(
        key_bindings=bindings,
        multiline=True,
        enable_open_in_editor=True,
        tempfile_suffix=suffix,
        color_depth=_depth(terminal),
        output=create_output(stdout=terminal.stream),
    )
    # What was typed before the text was seen must change nothing in it.
    earlier = get_typeahead(session.input)

    async def leave_once_unwanted() -> None:
        while wanted():  # noqa: ASYNC110 (another thread decides it)
            await asyncio.sleep(_TICK)
        session.app.exit(exception=EOFError)

    def watch() -> None:
        session.app.create_background_task(leave_once_unwanted())

    try:
        return session.prompt("", default=text, pre_run=watch)
    except (EOFError, KeyboardInterrupt):
        return None
    finally:
        store_typeahead(session.input, [*earlier, *get_typeahead(session.input)])


def _depth(terminal: Terminal) -> ColorDepth | None:
    return None if terminal.colour else ColorDepth.DEPTH_1_BIT


def _with_newlines(pasted: str) -> str:
    return pasted.replace("\r\n", "\n").replace("\r", "\n")


class Pastes:
    """Large pastes, each shown as one mark in the entry and put back when the entry is done."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def shown(self, text: str) -> str:
        """What to put into the entry: a short text itself, else a mark that stands for it."""
        text = _with_newlines(text)
        lines = len(text.removesuffix("\n").split("\n"))
        if lines <= _PASTED_LINES and len(text) <= _PASTED_CHARACTERS:
            return text
        size = f"{lines} lines" if lines > 1 else f"{len(text)} characters"
        mark = f"[pasted {size}, {len(self._texts) + 1}]"
        self._texts[mark] = text
        return mark

    def whole(self, entry: str) -> str:
        """The entry with the texts in place of their marks; beside other words each in a fence."""
        for mark, text in self._texts.items():
            if mark in entry:
                alone = entry.strip() == mark or entry.lstrip().startswith("!")
                entry = entry.replace(mark, text if alone else f"\n{fenced(text)}\n", 1)
        return entry


class PrivateHistory(FileHistory):
    """A history in a file that only its owner can read.

    It keeps no entry that begins with a space, nor one with a large paste, of which the next conversation would have
    the mark and not the text.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        path.chmod(0o600)
        super().__init__(path)

    def store_string(self, string: str) -> None:
        """Write one entry, unless the user asked not to."""
        if not (string.startswith(" ") or _MARK.search(string)):
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
    """Completes names of slash commands and what may stand behind them, and paths after ``@``.

    ``commands`` are names, with a space where something may follow; ``words`` gives what may follow one,
    ``with_paths`` are those that take a file.
    """

    def __init__(
        self,
        commands: Iterable[str],
        words: Callable[[str], Iterable[str]] = lambda command: (),
        with_paths: Collection[str] = (),
    ) -> None:
        self._commands = tuple(commands)
        self._words = words
        self._with_paths = with_paths
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        word = text.rpartition(" ")[2].rpartition("\n")[2]
        if text.startswith("/") and not text.startswith("//"):
            name, space, rest = text[1:].partition(" ")
            if not space:
                yield from _beginning(text, (f"/{command}" for command in self._commands))
                return
            yield from _beginning(word, self._words(name))
            if name in self._with_paths:
                yield from self._paths.get_completions(Document(rest), complete_event)
        elif word.startswith("@"):
            yield from self._paths.get_completions(Document(word[1:]), complete_event)


def _beginning(word: str, known: Iterable[str]) -> Iterator[Completion]:
    for one in known:
        if one.startswith(word):
            yield Completion(one, start_position=-len(word))


def _bindings(paste: Callable[[str], str]) -> KeyBindings:
    """The keys of every text that is typed; ``paste`` says what is put in for a pasted one."""
    bindings = KeyBindings()

    @bindings.add(Keys.BracketedPaste)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(paste(event.data))

    @bindings.add("enter", filter=~is_searching)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter", filter=~is_searching)
    @bindings.add("c-j", filter=~is_searching)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings
