"""What a slash command is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chat import Chat


class Leave(Exception):
    """Raised by a command that ends the conversation."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how it is written, what it does in a few words, and the doing.

    ``words`` gives what may stand behind the name, for completion; with ``paths`` that is a file.
    """

    usage: str
    help: str
    run: Callable[["Chat", str], None]
    words: Callable[["Chat"], Iterable[str]] | None = None
    paths: bool = False

    @property
    def name(self) -> str:
        """How it begins."""
        return self.usage.partition(" ")[0]
