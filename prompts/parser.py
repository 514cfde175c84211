"""The incremental parser of assistant output: text and calls, whatever form the calls take.

One parser reads every form that Llama 3.x models emit (built-in calls, code, JSON, function tags, pythonic lists),
told apart by content. What is merely quoted, in prose, in code or in a fenced example, stays text; what was meant as
a call and cannot be read is ``Malformed`` and never run.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .messages import End, ToolSpec
from .parsing.decode import Catalogue
from .parsing.events import ArgumentsDelta, CallDone, CallOpened, CallSyntax, Malformed, ParseEvent, TextDelta
from .parsing.grammar import Grammar

__all__ = [
    "ArgumentsDelta",
    "CallDone",
    "CallOpened",
    "CallParser",
    "CallSyntax",
    "Catalogue",
    "Malformed",
    "ParseEvent",
    "Parsed",
    "TextDelta",
    "parse",
]

_ENDS: dict[str, Literal["eot", "eom"]] = {
    "<|eot_id|>": "eot",
    "<|eom_id|>": "eom",
    "<|end_of_text|>": "eot",
    "<|eot|>": "eot",
    "<|eom|>": "eom",
}
_END = re.compile("|".join(map(re.escape, _ENDS)))
_LONGEST_END = max(map(len, _ENDS))


class CallParser:
    """Reads one assistant message that arrives in pieces of any size.

    ``tools`` are the tools on offer (a Catalogue of them serves any number of messages): their names decide where the
    text alone does not (a bare ``f(x=1)``), their schemas give positional arguments names and arguments their types.
    ``code`` says whether free text behind ``<|python_tag|>`` is a call of ``code_interpreter``; without it that is
    malformed. ``coerce=False`` leaves the arguments as written. The events do not depend on how the text is cut, but
    for the cuts between deltas.
    """

    def __init__(
        self, tools: Sequence[ToolSpec] | Catalogue = (), *, code: bool = True, coerce: bool = True
    ) -> None:
        catalogue = tools if isinstance(tools, Catalogue) else Catalogue(tools, coerce)
        self._grammar = Grammar(catalogue, code=code)
        self._pending = ""
        self.end: End | None = None
        """The token that ended the message, once it has been seen."""

    def feed(self, text: str) -> list[ParseEvent]:
        """Take the next piece and return what it makes certain; text behind the end of the message is ignored."""
        if self._grammar.ended:
            return []
        if not self._pending and "<" not in text:
            return self._grammar.advance(text, last=False)
        text = self._pending + text
        if match := _END.search(text):
            self.end = _ENDS[match.group()]
            self._pending = ""
            return self._grammar.advance(text[: match.start()], last=True)
        keep = _unfinished_end(text)
        self._pending = text[len(text) - keep :]
        return self._grammar.advance(text[: len(text) - keep], last=False)

    def finish(self) -> list[ParseEvent]:
        """Say that the message is over: at a stop token that was not fed as text, or where generation ended."""
        if self._grammar.ended:
            return []
        return self._grammar.advance(self._pending, last=True)


def _unfinished_end(text: str) -> int:
    start = text.rfind("<", max(0, len(text) - _LONGEST_END + 1))
    while start >= 0:
        if any(token.startswith(text[start:]) for token in _ENDS):
            return len(text) - start
        start = text.rfind("<", max(0, len(text) - _LONGEST_END + 1), start)
    return 0


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole message: its text, its calls in order, what was malformed, and the token that ended it."""

    text: str
    calls: tuple[CallDone, ...]
    malformed: tuple[Malformed, ...]
    end: End | None


def parse(text: str, tools: Sequence[ToolSpec] = (), *, code: bool = True, coerce: bool = True) -> Parsed:
    """Read a whole assistant message at once; see CallParser for the arguments."""
    parser = CallParser(tools, code=code, coerce=coerce)
    events = [*parser.feed(text), *parser.finish()]
    return Parsed(
        "".join(event.text for event in events if isinstance(event, TextDelta)),
        tuple(event for event in events if isinstance(event, CallDone)),
        tuple(event for event in events if isinstance(event, Malformed)),
        parser.end,
    )
