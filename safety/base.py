"""What a screen is: what it is given, where it stands, and what it may answer."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Protocol, get_args, runtime_checkable

from arriero.prompts import ArrieroError, Message

Place = Literal["input", "tool_call", "code", "tool_result", "output"]
"""Where a screen stands: before what a user wrote reaches the model, before a call runs, before code runs, before
a result reaches the model, before an answer is shown."""

Action = Literal["allow", "replace", "retry", "ask", "block"]
"""What happens to a text: from the mildest to the strictest; of several verdicts the strictest counts."""

PLACES: tuple[Place, ...] = get_args(Place)
ACTIONS: tuple[Action, ...] = get_args(Action)


class ScreenError(ArrieroError):
    """A screen cannot be had or could not judge; the text has then not passed. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Span:
    """A run of the conversation's text and where it came from.

    ``origin`` is ``system``, ``user``, ``model``, ``file`` or ``tool:NAME``; files and tools are not trusted.
    """

    text: str
    origin: str

    @property
    def trusted(self) -> bool:
        return self.origin in ("system", "user")


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something beside the text: an image or a file that a user gave or a tool produced."""

    name: str
    mime: str
    data: bytes = field(repr=False)


class ScreenInput(NamedTuple):
    """One text at one place.

    ``text`` is what would pass: the user's text, a call's arguments as JSON, code, a result, or the answer so
    far. It is whole, whatever its length, and may be empty. ``role`` is the message's role and ``origin`` where
    the text came from (see Span). ``tool``, ``arguments``, ``effect`` and ``call_id`` describe the call at the
    places ``tool_call``, ``code`` and ``tool_result``. ``messages`` are those before this text, for screens that
    judge a conversation. ``final`` is False while an answer is still being written; its first ``passed``
    characters have passed already.
    """

    place: Place
    text: str
    role: Literal["system", "user", "assistant", "ipython"] = "user"
    origin: str = "user"
    tool: str | None = None
    arguments: Mapping[str, Any] = MappingProxyType({})
    effect: str | None = None
    call_id: str | None = None
    messages: tuple[Message, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    final: bool = True
    passed: int = 0

    @property
    def spans(self) -> tuple[Span, ...]:
        """The earlier messages as spans with their origins."""
        return tuple(span for message in self.messages for span in spans_of(message))


# A file before a question: a line with its name, perhaps, and a fence that is longer than any in the text.
_FILE: Final = re.compile(
    r"(?:[^\n]{1,300}:\n)?(?P<fence>`{3,})\n(?P<text>.*?)\n?(?P=fence)(?:\n\n|\Z)", re.DOTALL
)


def spans_of(message: Message) -> tuple[Span, ...]:
    """The texts of a message with their origins.

    Retrieved text in a user's message came from a file, and so did fenced text at its head.
    """
    texts = [text for text in (message.content, *message.parts) if text]
    match message.role:
        case "system":
            return tuple(Span(text, "system") for text in texts)
        case "assistant":
            return tuple(Span(text, "model") for text in texts)
        case "ipython":
            return tuple(Span(text, f"tool:{message.name or 'unknown'}") for text in texts)
    spans = [span for text in texts for span in _users(text)]
    if message.context:
        spans.append(Span(message.context, "file"))
    return tuple(spans)


@lru_cache(maxsize=256)
def _users(text: str) -> tuple[Span, ...]:
    spans = []
    position = 0
    while file := _FILE.match(text, position):
        spans.append(Span(file["text"], "file"))
        position = file.end()
    if text[position:]:
        spans.append(Span(text[position:], "user"))
    return tuple(spans)


class Verdict(NamedTuple):
    """What a screen says of a text.

    ``action`` is what the screen would do; the policy may decide otherwise. ``score`` (0 harmless to 1) is what a
    policy's threshold is compared with, at least the threshold is a finding; ``threshold`` is the one that the
    screen itself went by. ``scores`` are by label, ``categories`` names what was found: also with ``allow``, where
    it is only noted. ``reason`` is one sentence for people. ``replacement`` takes the place of the text
    behind the characters that have passed, where the action is ``replace``. ``hold`` asks to keep that many
    characters at the end of an unfinished answer, which a replacement leaves as they are, from being shown until more
    of it is there.
    """

    action: Action = "allow"
    score: float | None = None
    scores: Mapping[str, float] = MappingProxyType({})
    categories: tuple[str, ...] = ()
    threshold: float | None = None
    reason: str = ""
    replacement: str | None = None
    hold: int = 0


ALLOW = Verdict()
"""Nothing was found."""


@runtime_checkable
class Screen(Protocol):
    """Judges texts.

    ``check`` raises whatever it likes when it cannot judge (ScreenError where the user can do something about
    it): the text has then not passed. It must neither shorten the text nor skip it. It may be called for several
    texts at once and from different event loops, and must leave the event loop free while it computes.

    A screen may have more: ``instant = True`` says that a check takes microseconds and never waits, so that it is
    made in place and at every piece of an answer; a method ``prepare`` says that the first check at a place has
    much to make ready, and may take minutes; ``async def aclose()`` frees what the screen holds.
    """

    @property
    def name(self) -> str: ...

    async def check(self, given: ScreenInput) -> Verdict: ...


Check = Callable[[ScreenInput], Verdict | Awaitable[Verdict]]
"""Any function with this signature is a screen too; one that is not ``async`` runs in a thread of its own."""
