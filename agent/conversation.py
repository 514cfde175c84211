"""A conversation: its messages, and the tokens that the model has seen or written, append-only."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date as Date
from typing import NamedTuple

from arriero.prompts import ArrieroError, Message, Segment, ToolSpec
from arriero.prompts.dialects import Dialect, get_dialect, split_builtin
from arriero.prompts.dialects.base import Opening

from .backends import Model, Token
from .pending import Mark, Pending

_FORMAT = 1


class DumpError(ArrieroError):
    """A text is no conversation that ``Conversation.dump`` wrote, or one of a newer version."""


class Change(NamedTuple):
    """What became of a conversation since it was last looked at: the head that is the same, and what follows.

    ``rewound`` says that something was taken back meanwhile.
    """

    same_messages: int
    same_tokens: int
    messages: list[Message]
    tokens: list[int]
    rewound: bool


@dataclass(slots=True)
class Conversation:
    """What an agent and a user have said so far.

    ``tokens`` is the transcript as the model reads it: rendered once, extended with what was sampled, never
    rendered again; the list only grows, and taking something back makes another one. ``messages`` is the same for
    people. ``evaluated`` counts the tokens at the head of the transcript that the model has read or written; those
    behind it are new to it. ``open`` says that the last answer has not been ended. ``id`` is what tools keep its
    state under. ``pending`` are calls of the last message that wait to be gone on with; ``unasked`` is a prompt
    that a run which was killed or cancelled did not get to, because its screens had not answered; ``busy`` says
    that a run is in it now; ``turns`` marks where each turn began, ``places`` where messages were added, so that as
    little as possible is rendered again when one of them changes.
    """

    dialect: Dialect
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    date: Date | str | None = None
    messages: list[Message] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    evaluated: int = 0
    open: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    pending: Pending | None = None
    unasked: str | None = None
    busy: bool = False
    turns: list[Mark] = field(default_factory=list)
    places: list[Mark] = field(default_factory=list)
    _same: tuple[int, int] = (0, 0)
    _rewound: bool = False
    _header: tuple[Model, list[int]] | None = None
    _opening: Opening = field(init=False)

    def __post_init__(self) -> None:
        self._opening = self._opened()

    def begin_turn(self, message: Message, model: Model) -> None:
        """Append what a user says, with what the wire form puts before a first message."""
        turn = self.mark()
        if self.tokens:
            self.append([message], model)
        else:
            functions, builtin = split_builtin(self.tools)
            system = [Message(role="system", content=self.instructions)] if self.instructions else []
            segments = self.dialect.render(
                [*system, message], tools=functions, builtin_tools=builtin, date=self.date, answer=False
            )
            self.tokens += model.tokenize(segments)
            self.messages += [*system, message]
        self.turns.append(turn)

    def append(self, messages: Sequence[Message], model: Model) -> None:
        """Append messages; an answer that was cut off is closed first."""
        self.places.append(self.mark())
        closing = [Segment(self.dialect.eot, special=True)] if self.open else []
        self.tokens += model.tokenize([*closing, *self._extended(messages, answer=False)])
        self.messages += messages
        self.open = False
        self.pending = None

    @property
    def unfinished(self) -> bool:
        """Whether there is something that a run can go on with: calls, an answer that is missing or cut off."""
        if self.unasked is not None:
            return True
        last = self.messages[-1] if self.messages else None
        return last is not None and (
            self.pending is not None or self.open or last.role in ("user", "ipython")
        )

    def begin_answer(self, model: Model) -> None:
        """Append the header under which the model writes."""
        if self._header is None or self._header[0] is not model:
            # It is the same under every answer.
            self._header = model, model.tokenize(self._extended([], answer=True))
        self.tokens += self._header[1]
        self.open = True

    def sampled(self, token: Token) -> None:
        """Append one token that the model wrote."""
        tokens = self.tokens
        tokens.append(token.id)
        self.evaluated = len(tokens)
        self.open = token.stop is None

    def mark(self) -> Mark:
        """Where the conversation is now."""
        return Mark(len(self.messages), len(self.tokens), self.evaluated, self.open)

    def rewind(self, mark: Mark) -> None:
        """Take back everything since ``mark``, which must lie before what there is now."""
        del self.messages[mark.messages :]
        self.tokens = self.tokens[: mark.tokens]
        self.evaluated = min(mark.evaluated, len(self.tokens))
        self.open = mark.open
        self.pending = None
        for marks in (self.turns, self.places):
            while marks and marks[-1].tokens >= mark.tokens:
                marks.pop()
        if mark.messages < self._same[0] or mark.tokens < self._same[1]:
            self._same = min(self._same[0], mark.messages), min(self._same[1], mark.tokens)
            self._rewound = True

    def take_change(self) -> Change | None:
        """What has changed since this was last called, None if nothing has; whoever keeps the conversation asks."""
        messages, tokens = self._same
        said, read = self.messages[messages:], self.tokens[tokens:]
        if not (read or said or self._rewound):
            return None
        change = Change(messages, tokens, said, read, self._rewound)
        self._same, self._rewound = (messages + len(said), tokens + len(read)), False
        return change

    def forget_change(self) -> None:
        """Have the next ``take_change`` tell everything: what was told before could not be kept."""
        self._same, self._rewound = (0, 0), True

    def dump(self) -> str:
        """The conversation as JSON, to go on with in another process; what tools hold is not in it."""
        return json.dumps(
            {
                "format": _FORMAT,
                "id": self.id,
                "dialect": self.dialect.name,
                "instructions": self.instructions,
                "date": None if self.date is None else str(self.date),
                "tools": [spec.model_dump() for spec in self.tools],
                "messages": [message.model_dump(exclude_defaults=True) for message in self.messages],
                "tokens": self.tokens,
                "open": self.open,
                "turns": [asdict(turn) for turn in self.turns],
                "pending": self.pending.model_dump(mode="json") if self.pending else None,
            },
            default=str,
        )

    @classmethod
    def load(cls, text: str, model: Model | None = None) -> "Conversation":
        """What ``dump`` wrote. With ``model`` the transcript is rendered again for that, as it must be where its
        tokens are not those of the model that wrote it. Raises DumpError.
        """
        try:
            kept = json.loads(text)
            if kept["format"] != _FORMAT:
                raise DumpError(
                    f"the conversation has format {kept['format']}, not {_FORMAT}: update arriero"
                )
            made = cls(
                get_dialect(kept["dialect"]),
                kept["instructions"],
                tuple(ToolSpec(**spec) for spec in kept["tools"]),
                kept["date"],
                [Message(**message) for message in kept["messages"]],
                list(map(int, kept["tokens"])),
                open=bool(kept["open"]),
                id=str(kept["id"]),
                turns=[Mark(**turn) for turn in kept["turns"]],
                pending=Pending(**kept["pending"]) if kept["pending"] else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DumpError(f"this is no conversation that arriero wrote: {type(error).__name__}") from error
        if model is not None:
            made.render_again(made.dialect, made.instructions, made.tools, model)
        return made

    def replace_messages(self, messages: Sequence[Message], model: Model) -> None:
        """Go on with other messages; the transcript stays as it is up to the first that is another."""
        same = 0
        for old, new in zip(self.messages, messages, strict=False):
            if old != new:
                break
            same += 1
        place = next((mark for mark in reversed(self.places) if mark.messages <= same and mark.tokens), None)
        if place is None:
            self.messages = list(messages)
            self.turns = [
                Mark(number, 0, 0, False) for number, one in enumerate(messages) if one.role == "user"
            ]
            self.render_again(self.dialect, self.instructions, self.tools, model)
            return
        rest = list(messages[place.messages :])
        begins = {mark.messages for mark in self.turns}
        self.rewind(place)
        for number, message in enumerate(rest, place.messages):
            add = self.begin_turn if number in begins else self._add
            add(message, model)

    def _add(self, message: Message, model: Model) -> None:
        self.append([message], model)

    def render_again(
        self, dialect: Dialect, instructions: str, tools: tuple[ToolSpec, ...], model: Model
    ) -> None:
        """Write the transcript anew from the messages, for a model that reads other tokens or other tools.

        What was sampled is then no longer exactly what stands there. Raises ModelError.
        """
        said = [message for message in self.messages if message.role != "system"]
        begins = {mark.messages + (mark.messages == 0 and self._has_system) for mark in self.turns}
        shift = len(self.messages) - len(said)
        pending = self.pending
        self.dialect, self.instructions, self.tools = dialect, instructions, tools
        self._header, self._opening = None, self._opened()
        self.messages, self.tokens, self.turns, self.evaluated, self.open = [], [], [], 0, False
        for number, message in enumerate(said):
            if number + shift in begins or not self.messages:
                self.begin_turn(message, model)
            else:
                self.append([message], model)
            if pending and number + 1 + shift == pending.mark.messages:
                pending = pending.model_copy(update={"mark": self.mark()})
        self.pending = pending
        self.forget_change()

    @property
    def _has_system(self) -> bool:
        return bool(self.messages) and self.messages[0].role == "system"

    def undo(self) -> bool:
        """Take back the last turn: what the user said and everything after it. False if there is none."""
        if not self.turns:
            return False
        self.rewind(self.turns[-1])
        return True

    def clear(self) -> None:
        """Forget everything that was said; instructions and tools stay."""
        while self.undo():
            pass
        self.unasked = None

    def _extended(self, messages: Sequence[Message], *, answer: bool) -> list[Segment]:
        return self.dialect.follow(messages, self._opening, answer=answer)

    def _opened(self) -> Opening:
        functions, builtin = split_builtin(self.tools)
        return self.dialect.opening(functions, builtin, "")
