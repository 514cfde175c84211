"""Running a recorded run again: with what was recorded in the place of model and tools, or on the same weights."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from arriero.agent.agent import Agent
from arriero.agent.backends import FunctionModel, Model, ModelError, Sampling, Token
from arriero.agent.backends.base import Constraint
from arriero.agent.backends.wrapped import Wrapped
from arriero.agent.cancellation import CancellationToken
from arriero.agent.events import (
    Event,
    RunFinished,
    StepFinished,
    TextDelta,
    ToolCallEdited,
    ToolCallFinished,
    ToolCallStarted,
)
from arriero.agent.limits import Limits

from .errors import JournalError
from .identity import weights_of
from .journal import Journal
from .recorded import (
    Heard,
    RecordedCompactions,
    RecordedForm,
    RecordedPerson,
    RecordedTool,
    Stop,
    recorded_policy,
)
from .records import Generation, RunInfo

_STOPPED: Final = (None, "cancelled", "max_seconds")  # how a run ends that something outside of it ends
_ANY_LENGTH: Final = 10**9  # characters: what was recorded has been cut already


class ReplayModel(FunctionModel):
    """A model that writes what another wrote in a recorded run, token by token; it needs no weights.

    ``ReplayModel(journal.generations("last"))``. Raises ModelError when asked for more than was recorded;
    ``assert_complete`` checks that all was used.
    """

    def __init__(
        self, generations: Sequence[Generation], *, name: str = "replay", dialect: str = "llama3.1"
    ) -> None:
        super().__init__(self._nothing, name=name, dialect=dialect)
        self.generations = list(generations)
        self.used = 0

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        """What was written next in the recorded run."""
        if self.used >= len(self.generations):
            raise ModelError(
                f"the run has {len(self.generations)} messages of the model, and one more was asked"
            )
        self.used += 1
        recorded = self.generations[self.used - 1]
        self._hear(tokens)
        for number, text in enumerate(recorded.texts, 1):
            last = number == len(recorded.texts)
            yield Token(self._id(text), text, recorded.stop if last else None)

    def assert_complete(self) -> None:
        """Raise AssertionError unless everything was used."""
        left = len(self.generations) - self.used
        assert not left, f"{left} of {len(self.generations)} recorded messages were not used"

    @staticmethod
    def _nothing(prompt: str) -> str:
        raise ModelError("a recorded run answers no prompts")


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a run that was generated again first differs: message and token count from 1; None means no token."""

    message: int
    token: int
    expected: str | None
    got: str | None

    def __str__(self) -> str:
        return (
            f"message {self.message}, token {self.token}: recorded {_shown(self.expected)}, "
            f"now {_shown(self.got)}"
        )


class VerifyingModel(Wrapped):
    """The real model, checked token by token against what was recorded; ``divergence`` is the first difference."""

    def __init__(self, model: Model, generations: Sequence[Generation]) -> None:
        super().__init__(model)
        self._generations = generations
        self.checked = 0
        self.tokens = 0
        self.divergence: Divergence | None = None

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        if self.checked >= len(self._generations):
            self._differs(0, None, f"a prompt of {len(tokens)} tokens")
        recorded = self._generations[self.checked]
        self.checked += 1
        if recorded.prompt_tokens != len(tokens):
            self._differs(
                0, f"a prompt of {recorded.prompt_tokens} tokens", f"a prompt of {len(tokens)} tokens"
            )
        again = replace(sampling, seed=recorded.seed)
        stream = self._model.generate(tokens, again, max_tokens=recorded.max_tokens, constraint=constraint)
        number = 0
        async with aclosing(stream):
            async for token in stream:
                if number == len(recorded.ids) and recorded.stop is None:
                    return  # it was stopped here from outside
                expected = recorded.ids[number] if number < len(recorded.ids) else None
                if token.id != expected:
                    text = recorded.texts[number] if expected is not None else None
                    self._differs(number + 1, text, token.text)
                number += 1
                self.tokens += 1
                yield token
        if number < len(recorded.ids):
            self._differs(number + 1, recorded.texts[number], None)

    def _differs(self, token: int, expected: str | None, got: str | None) -> None:
        self.divergence = self.divergence or Divergence(self.checked, token, expected, got)
        raise ModelError(f"the run differs from what was recorded at {self.divergence}")


class _CutOff(Wrapped):
    """A model in a run that ended while the last message was written: it ends there again."""

    def __init__(self, model: Model, generations: Sequence[Generation], stop: Stop) -> None:
        super().__init__(model)
        self._left = len(generations)
        self._stop = stop

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        self._left -= 1
        stream = self._model.generate(tokens, sampling, max_tokens=max_tokens, constraint=constraint)
        async with aclosing(stream):
            async for token in stream:
                yield token
        if not self._left:
            await self._stop()


async def replay(journal: Journal, name: str, *, model: Model | None = None) -> AsyncGenerator[Event, None]:
    """The events of a recorded run, made by the loop of today from what was recorded.

    Tools, screens and people say what they said then, and it is stopped where it was stopped; nothing is done. With
    ``model`` that is in the place of the recorded model. Raises UnknownSession, and JournalError for a run that went
    on with what another left.
    """
    info, kept = journal.run(name), journal.before(name)
    if info.prompt is None:
        raise JournalError(f"the run {info.id[:8]} went on with what another left; replay that one")
    generations, recorded = journal.generations(info.id), [event for _, event in journal.events(info.id)]
    heard, cancel, stopped = Heard.of(recorded), CancellationToken(), info.stop_reason in _STOPPED

    async def stop() -> None:
        if info.stop_reason == "error":
            raise ModelError(info.error or "the model failed")
        cancel.cancel(info.stop_reason or "cancelled")
        await asyncio.Event().wait()

    player = model or ReplayModel(generations, name=info.model, dialect=info.dialect)
    cut_off = bool(generations) and generations[-1].stop is None
    if cut_off and (stopped or info.stop_reason == "error"):
        player = _CutOff(player, generations, stop)
    calls = {call.id: call for call in journal.calls(info.id)}
    person = RecordedPerson(heard.edits)
    agent = Agent(
        player,
        tools=[RecordedTool(spec, calls, heard.asked, stop) for spec in kept.tools],
        instructions=kept.instructions,
        dialect=info.dialect,
        limits=replace(Limits(**info.limits), max_seconds=None, max_output_chars=_ANY_LENGTH),
        sampling=Sampling(**info.sampling),
        approve=person,
        guards=recorded_policy(heard, journal.admitted(info.id), person),
        context=RecordedCompactions(journal.compactions(info.id)),
    )
    if info.answer is not None:
        agent.output = RecordedForm(info.answer, heard.problems)
    if model is None or weights_of(model) != info.weights:
        kept.render_again(kept.dialect, kept.instructions, kept.tools, player)
    async with aclosing(agent.stream(info.prompt, conversation=kept, cancel=cancel)) as events:
        left = sum(map(_essential, recorded))
        async for event in events:
            yield event
            left -= _essential(event)
            if stopped and left <= 0:
                cancel.cancel(info.stop_reason or "cancelled")


def same_weights(info: RunInfo, model: Model) -> bool:
    """Whether ``model`` has the weights of the run. Raises JournalError where that cannot be known."""
    weights = weights_of(model)
    if info.weights is None:
        raise JournalError(f"the run {info.id[:8]} was made by {info.model}, whose weights are not known")
    if weights is None:
        raise JournalError(
            f"the weights of {model.name} are not known; name the model file that made the run"
        )
    return info.weights == weights


def difference(recorded: Sequence[Event], again: Sequence[Event]) -> str | None:
    """The first thing that is otherwise than recorded, in words; None where all is the same.

    A run that was killed, or that nobody listened to any more, is the same as far as it goes.
    """
    first, second = list(_essence(recorded)), list(_essence(again))
    if not any(isinstance(event, RunFinished) for event in recorded):
        second = second[: len(first)]
    for number, (one, other) in enumerate(zip(first, second, strict=False), 1):
        if one != other:
            return f"event {number}: recorded {one}, now {other}"
    if len(first) != len(second):
        return f"recorded {len(first)} events, now {len(second)}"
    return None


def _essential(event: Event) -> bool:
    return isinstance(event, StepFinished | ToolCallStarted | ToolCallFinished)


def _essence(events: Sequence[Event]) -> Iterator[tuple[str, ...]]:
    text = ""
    for event in events:
        if isinstance(event, TextDelta):
            text += event.text
            continue
        if text and isinstance(event, StepFinished | RunFinished):
            yield ("text", text)
            text = ""
        if isinstance(event, StepFinished):
            # A screen that ends an answer while it is written has it cut off; recorded, it is that much and no more.
            yield ("step", str(event.step), "length" if event.end == "cancelled" else event.end)
        elif isinstance(event, ToolCallStarted):
            yield ("call", event.name, repr(event.arguments))
        elif isinstance(event, ToolCallEdited):
            yield ("edit", event.name, repr(event.arguments))
        elif isinstance(event, ToolCallFinished):
            yield ("result", event.name, event.content)
        elif isinstance(event, RunFinished):
            yield ("end", event.stop_reason, event.output)


def _shown(text: str | None) -> str:
    return "nothing" if text is None else repr(text)
