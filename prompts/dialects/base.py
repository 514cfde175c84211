"""What a dialect is: how one wire form opens a conversation and frames its messages."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date as Date
from functools import lru_cache
from typing import NamedTuple

from ..messages import BUILTIN_TOOLS, End, Message, ToolSpec
from ..rendering import Hole, Layout, lay_out
from ..segments import Segment


@dataclass(frozen=True, slots=True)
class Opening:
    """What is said before the first message.

    ``tools`` are functions of the user's, ``builtin_tools`` names from BUILTIN_TOOLS; None and an empty tuple
    differ in the published templates. ``tool_choice`` is ``auto``, ``required`` or a tool's name.
    ``replace_system`` puts the caller's system text in the place of the form's own (pythonic form only).
    """

    tools: tuple[ToolSpec, ...] | None = None
    builtin_tools: tuple[str, ...] | None = None
    date: str = ""
    tool_choice: str = "auto"
    tools_in_user_message: bool = True
    replace_system: bool = False

    @property
    def any_tools(self) -> bool:
        return bool(self.tools) or bool(self.builtin_tools)

    @property
    def listed_tools(self) -> str:
        """Names for a ``Tools:`` line; the code interpreter is never listed."""
        return ", ".join(name for name in self.builtin_tools or () if name != "code_interpreter")


class Framed(NamedTuple):
    """A message as the conversation template writes it; each piece is encoded on its own.

    ``tag_at`` is the number of the piece before which ``<|python_tag|>`` stands, None for none.
    """

    role: str
    pieces: tuple[str, ...]
    end: End = "eot"
    tag_at: int | None = None


class Dialect(ABC):
    """One wire form: how tools are shown, how calls are written, where messages end.

    ``name`` selects it. ``date_format`` is for ``Today Date``; ``default_date`` stands where no date is given
    (None: today). ``seams`` says whether the reference encodes pieces of a message separately. ``eot`` ends a
    turn.
    """

    name: str
    date_format: str = "%d %B %Y"
    default_date: str | None = None
    seams: bool = True
    template: str = "conversation"
    eot: str = "<|eot_id|>"

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] | None = None,
        builtin_tools: Sequence[str] | None = None,
        date: Date | str | None = None,
        tool_choice: str = "auto",
        tools_in_user_message: bool = True,
        replace_system: bool = False,
        answer: bool = True,
    ) -> list[Segment]:
        """A whole prompt: what the form says first, the messages, and the header of the answer.

        ``tools`` are the functions, ``builtin_tools`` the names that the form knows (``split_builtin`` tells
        specs apart). Raises PromptError where the form cannot write the conversation.
        """
        opening = self.opening(tools, builtin_tools, date, tool_choice, tools_in_user_message, replace_system)
        framed = [self.frame(message, opening) for message in self.open(list(messages), opening)]
        return self._write(framed, begin=True, answer=answer)

    def extend(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] | None = None,
        builtin_tools: Sequence[str] | None = None,
        answer: bool = True,
    ) -> list[Segment]:
        """Messages that follow a prompt rendered earlier with the same tools."""
        return self.follow(messages, self.opening(tools, builtin_tools, ""), answer=answer)

    def follow(self, messages: Sequence[Message], opening: Opening, *, answer: bool) -> list[Segment]:
        """``extend`` for whoever keeps what was said before the first message."""
        return self._write([self.frame(message, opening) for message in messages], begin=False, answer=answer)

    def opening(
        self,
        tools: Sequence[ToolSpec] | None,
        builtin_tools: Sequence[str] | None,
        date: Date | str | None,
        tool_choice: str = "auto",
        tools_in_user_message: bool = True,
        replace_system: bool = False,
    ) -> Opening:
        """The arguments of ``render`` as one value."""
        if date is None:
            date = self.default_date or Date.today()
        return Opening(
            tools=None if tools is None else tuple(tools),
            builtin_tools=None if builtin_tools is None else tuple(builtin_tools),
            date=date if isinstance(date, str) else date.strftime(self.date_format),
            tool_choice=tool_choice,
            tools_in_user_message=tools_in_user_message,
            replace_system=replace_system,
        )

    @abstractmethod
    def open(self, messages: list[Message], opening: Opening) -> list[Message]:
        """The messages with what this form puts before and into them."""

    @abstractmethod
    def frame(self, message: Message, opening: Opening) -> Framed:
        """One message with its calls written out."""

    def _write(self, framed: list[Framed], *, begin: bool, answer: bool) -> list[Segment]:
        segments = _framing(self.template, self.seams, begin=True).fill() if begin else []
        for one in framed:
            shape = _Shape(one.role, len(one.pieces), one.end, one.tag_at)
            segments += _framing(self.template, self.seams, shape).fill(one.pieces)
        return segments + _framing(self.template, self.seams, answer=True).fill() if answer else segments


class _Shape(NamedTuple):
    """All of a message that decides about what stands around its pieces."""

    role: str
    pieces: int
    end: End
    tag_at: int | None


@lru_cache(maxsize=256)
def _framing(
    template: str, seams: bool, shape: _Shape | None = None, *, begin: bool = False, answer: bool = False
) -> Layout:
    """One part of a conversation as its template writes it, with holes for the message's pieces.

    Templates frame each message alone, whatever stands before it and is in it, so that this is done once a shape.
    """
    messages = []
    if shape:
        pieces = tuple(map(Hole, range(shape.pieces)))
        messages = [{"role": shape.role, "pieces": pieces, "end": shape.end, "tag_at": shape.tag_at}]
    return lay_out(template, seams=seams, messages=messages, begin=begin, answer=answer)


def split_builtin(specs: Iterable[ToolSpec]) -> tuple[list[ToolSpec] | None, list[str] | None]:
    """Specs of functions, and names of built-in tools in the order in which forms list them; None for none."""
    specs = list(specs)
    named = {spec.name for spec in specs}
    functions = [spec for spec in specs if spec.name not in BUILTIN_TOOLS]
    builtin = [name for name in BUILTIN_TOOLS if name in named]
    return functions or None, builtin or None


def split_system(messages: list[Message]) -> tuple[Message | None, list[Message]]:
    """The leading system message, if there is one, and the rest."""
    if messages and messages[0].role == "system":
        return messages[0], messages[1:]
    return None, messages
