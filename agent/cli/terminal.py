"""What the terminal can do, and text made safe for it."""

import codecs
import os
import re
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# ECMA-48: CSI sequences; OSC, DCS, SOS, PM and APC strings up to BEL or ST; two-character escapes.
_SEQUENCES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
_UNFINISHED: Final = re.compile(
    r"(?:(?:\x1b\[|\x9b)[0-?]*[ -/]*|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*\x1b?|\x1b[ -/]*|\r)\Z"
)
_NEAREST: Final = "arriero.nearest"
_SIMPLE: Final = {"·": "-", "–": "-", "—": "-", "−": "-", "×": "x", "‘": "'", "’": "'", "“": '"', "”": '"'}
_LONGEST: Final = 256  # characters of a sequence that are waited for
_DROPPED: Final = {
    **dict.fromkeys((*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0))),
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A))),  # bidirectional overrides, isolates
    **dict.fromkeys(range(0xE0000, 0xE0080)),  # invisible tag characters
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}


def neutral(text: str) -> str:
    """``text`` without anything that steers a terminal: escape sequences, control and bidi characters.

    Newlines and tabs stay; a carriage return before a newline goes with it, one alone becomes a newline; a
    lone surrogate becomes U+FFFD. What is cut off in the middle leaves harmless letters.
    """
    text = _SEQUENCES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return text.translate(_DROPPED)


class NeutralStream:
    """``neutral`` for text that comes in pieces: a sequence that is cut over two of them goes as a whole."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """What of the text so far can be shown and was not shown yet."""
        text = self._held + text
        cut = _UNFINISHED.search(text, max(0, len(text) - _LONGEST))
        self._held = cut[0] if cut else ""
        return neutral(text[: len(text) - len(self._held)])

    def finish(self) -> str:
        """The rest; what is fed after this is another text."""
        held, self._held = self._held, ""
        return neutral(held)


def forgiving(stream: TextIO) -> None:
    """Have a stream show what its encoding lacks as the nearest letters, instead of failing in mid-answer.

    ``…`` becomes ``...`` and ``é`` becomes ``e``; what has no such letters becomes ``?``.
    """
    codecs.register_error(_NEAREST, _nearest)
    getattr(stream, "reconfigure", lambda **_: None)(errors=_NEAREST)


def _nearest(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = (_plain(character) for character in error.object[error.start : error.end])
    return "".join(letters), error.end


def _plain(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
    return plain or _SIMPLE.get(character, "?")


@dataclass(frozen=True, slots=True)
class Terminal:
    """One stream and what may be written to it.

    ``interactive``: a person looks at it, so that lines may be rewritten. ``colour`` and ``unicode``: whether
    these can be used. Everything is off with ``plain``.
    """

    stream: TextIO
    interactive: bool
    colour: bool
    unicode: bool

    @classmethod
    def detect(
        cls, stream: TextIO, *, plain: bool = False, environ: Mapping[str, str] | None = None
    ) -> "Terminal":
        """Look at the stream and at ``NO_COLOR``, ``FORCE_COLOR`` (see no-color.org) and ``TERM``."""
        variables = os.environ if environ is None else environ
        dumb = variables.get("TERM", "") in ("", "dumb", "unknown")
        interactive = stream.isatty() and not dumb and not plain
        forced = bool(variables.get("FORCE_COLOR")) and not plain
        colour = (interactive or forced) and not variables.get("NO_COLOR")
        encoding = (getattr(stream, "encoding", None) or "ascii").lower()
        return cls(stream, interactive, colour, encoding.startswith("utf"))

    @property
    def width(self) -> int:
        """Columns, at least 20."""
        return max(20, shutil.get_terminal_size((80, 24)).columns)

    @property
    def rich_text(self) -> bool:
        """Whether Markdown is worth rendering; where it is not, its source is the better text."""
        return self.interactive and self.unicode

    def symbol(self, unicode: str, ascii: str) -> str:  # noqa: A002
        """The first where it can be shown, else the second."""
        return unicode if self.unicode else ascii

    def console(self) -> "Console":
        """A rich console for the stream, without markup, emoji codes or highlighting."""
        from rich.console import Console

        return Console(
            file=self.stream,
            force_terminal=self.interactive or self.colour,
            no_color=not self.colour,
            color_system="auto" if self.colour else None,
            width=self.width,
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=not self.interactive,
        )
