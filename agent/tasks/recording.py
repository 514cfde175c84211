"""A task's model and tools on record, so that the task runs in tests without either."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arriero.prompts import ToolSpec
from arriero.tools import Tool, ToolContext, ToolError, ToolResult

from ..backends import Constraint, FunctionModel, Model, ModelError, Sampling, Token
from ..backends.wrapped import Wrapped
from .errors import TaskError
from .outcomes import Outcome
from .working import Workplace

FORMAT = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Written(_Strict):
    """One message of the model: its text, control tokens by name, and what ended it."""

    text: str
    stop: str | None = None


class Called(_Strict):
    """One call of a tool, and what came of it."""

    name: str
    arguments: dict[str, Any]
    outcome: Outcome


class Offered(_Strict):
    """A tool as the task knows it, and the arguments with which it asked for approval."""

    spec: ToolSpec
    asks: list[dict[str, Any]] = Field(default_factory=list)


class Recording(_Strict):
    """What a model wrote and tools answered while a task ran, in order.

    ``listen`` and ``watch`` put ears around a real model and its tools; ``replay`` has doubles that say the same
    again. ``judge`` is what a judge wrote, where the task has one.
    """

    v: int = FORMAT
    task: str
    dialect: str = "llama3.1"
    written: list[Written] = Field(default_factory=list)
    judge: list[Written] = Field(default_factory=list)
    tools: dict[str, Offered] = Field(default_factory=dict)
    calls: list[Called] = Field(default_factory=list)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Recording":
        """A recording that was saved. Raises TaskError."""
        try:
            recording = cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise TaskError(f"{path}: {error.strerror}") from None
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            said = error.errors()[0]["msg"]
            raise TaskError(f"{path}: is no recording of a task: {where}: {said}; record it again") from None
        if recording.v != FORMAT:
            raise TaskError(f"{path}: is a recording of version {recording.v}; record it again")
        return recording

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording, for people to read and to keep beside tests. Raises TaskError."""
        try:
            Path(path).write_text(self.model_dump_json(indent=1, exclude_defaults=True) + "\n", "utf-8")
        except OSError as error:
            raise TaskError(f"{path}: {error.strerror}") from None

    def listen(self, model: Model, *, judge: bool = False) -> Model:
        """The model, with what it writes taken down."""
        self.dialect = self.dialect if judge else model.dialect
        return _Heard(model, self.judge if judge else self.written)

    def watch(self, tools: Mapping[str, Tool]) -> dict[str, Tool]:
        """The tools, with what they answer taken down."""
        self.tools = {name: Offered(spec=tool.spec) for name, tool in tools.items()}
        return {name: _Watched(tool, self, self.tools[name]) for name, tool in tools.items()}

    def around(self, place: Workplace) -> Workplace:
        """The place, with everything that is said in it taken down."""
        judge = None if place.judge is None else self.listen(place.judge, judge=True)
        return replace(place, model=self.listen(place.model), tools=self.watch(place.tools), judge=judge)

    def replay(self) -> "Replay":
        """A model and tools that say the same again; nothing is done."""
        return Replay(self)


class Replay:
    """Doubles for one run of the task: ``model``, ``judge`` and ``tools``."""

    def __init__(self, recording: Recording) -> None:
        self.model = Player(recording.written, recording.dialect)
        self.judge = Player(recording.judge, recording.dialect)
        self.tools = Doubles(recording.tools, recording.calls)

    @property
    def difference(self) -> str | None:
        """What the run did otherwise than recorded; None where it did the same, once it has ended."""
        if self.tools.problem:
            return self.tools.problem
        messages, calls = self.model.left + self.judge.left, len(self.tools.calls)
        if messages or calls:
            return f"{messages} messages of the model and {calls} calls that were recorded did not come"
        return None


class Player(FunctionModel):
    """Writes what was recorded, message by message. Raises ModelError when it is asked for more."""

    def __init__(self, written: Sequence[Written], dialect: str) -> None:
        super().__init__(self._nothing, name="recorded", dialect=dialect)
        self._written = written
        self.used = 0

    @property
    def left(self) -> int:
        """Messages that were recorded and not asked for."""
        return len(self._written) - self.used

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        if not self.left:
            raise ModelError(
                f"the recording has {self.used} messages of the model, and one more was asked: record it again"
            )
        message = self._written[self.used]
        self.used += 1
        pieces = self._split(message.text)
        for number, piece in enumerate(pieces, 1):
            yield Token(self._id(piece), piece, message.stop if number == len(pieces) else None)

    @staticmethod
    def _nothing(prompt: str) -> str:
        raise ModelError("a recording answers no prompts")


class Doubles(dict[str, Tool]):
    """Tools that give the recorded answers, in order; ``calls`` are those that have not come yet."""

    def __init__(self, tools: Mapping[str, Offered], calls: Sequence[Called]) -> None:
        super().__init__({name: _Double(offered, self) for name, offered in tools.items()})
        self.calls = list(calls)
        self.problem = ""

    def answer(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """What the next call was answered with. Raises ToolError where another call comes than was recorded."""
        if not self.calls or (self.calls[0].name, self.calls[0].arguments) != (name, arguments):
            wanted = f"{self.calls[0].name}({self.calls[0].arguments})" if self.calls else "no call"
            said = f"{name}({arguments}) was called where {wanted} was recorded"
            self.problem = self.problem or said
            raise ToolError(said)
        return self.calls.pop(0).outcome.again()


class _Heard(Wrapped):
    def __init__(self, model: Model, written: list[Written]) -> None:
        super().__init__(model)
        self._written = written

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        message = Written(text="")
        self._written.append(message)
        async for token in self._model.generate(
            tokens, sampling, max_tokens=max_tokens, constraint=constraint
        ):
            message.text += token.text
            message.stop = token.stop
            yield token


class _Watched(Tool):
    def __init__(self, tool: Tool, recording: Recording, offered: Offered) -> None:
        self.spec, self.effect = tool.spec, tool.effect
        self.timeout, self.when_late = tool.timeout, tool.when_late
        self._tool, self._recording, self._offered = tool, recording, offered

    def needs_approval(self, arguments: dict[str, Any]) -> bool:
        asks = self._tool.needs_approval(arguments)
        if asks and arguments not in self._offered.asks:
            self._offered.asks.append(arguments)
        return asks

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        try:
            result = await self._tool.run(arguments, context)
        except Exception as error:
            self._note(arguments, Outcome.raised(error))
            raise
        self._note(arguments, Outcome.of(result))
        return result

    def _note(self, arguments: dict[str, Any], outcome: Outcome) -> None:
        self._recording.calls.append(Called(name=self.name, arguments=arguments, outcome=outcome))


class _Double(Tool):
    effect = "read"

    def __init__(self, offered: Offered, doubles: Doubles) -> None:
        self.spec, self._asks = offered.spec, offered.asks
        self._doubles = doubles

    def needs_approval(self, arguments: dict[str, Any]) -> bool:
        return arguments in self._asks

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        return self._doubles.answer(self.name, arguments)
