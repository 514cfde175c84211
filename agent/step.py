"""One step: the model writes a message, and what it writes is read while it is written."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from arriero.prompts import CODE_INTERPRETER, Message, ToolCall, ToolSpec
from arriero.prompts.parser import ArgumentsDelta, CallDone, CallParser, Malformed, ParseEvent, TextDelta

from .backends import Constraint, Model, Sampling
from .cancellation import CancellationToken, RunCancelled, Waits
from .conversation import Conversation

if TYPE_CHECKING:
    from .calls import Refusal

StepEnd = Literal["eot", "eom", "eos", "length", "cancelled"]
_ENDS: dict[str, StepEnd] = {"eot": "eot", "eom": "eom", "eos": "eos"}


@dataclass(slots=True)
class Step:
    """What the model wrote; filled while it writes.

    ``end`` is the stop token that it wrote, ``length`` when it ran out of tokens, ``cancelled`` when it was
    stopped. ``prompt_tokens`` were new to the model; ``seconds`` is wall time, ``decode_seconds`` from the
    first token on. ``unshown`` are pieces of calls that wait for their screens; ``refusals`` says of each call, once
    that was looked at, what keeps it from running; ``retry`` says why the message shall be written anew.
    """

    number: int
    calls: list[ToolCall] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)
    end: StepEnd = "length"
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    decode_seconds: float = 0.0
    unshown: list[ArgumentsDelta] = field(default_factory=list)
    refusals: "dict[str, Refusal | None] | None" = None
    retry: str | None = None
    _pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What it wrote beside calls."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @text.setter
    def text(self, text: str) -> None:
        self._pieces = [text]

    def note(self, found: ParseEvent) -> None:
        """Take down what was found in what the model writes."""
        if isinstance(found, TextDelta):
            self._pieces.append(found.text)
        elif isinstance(found, CallDone):
            call_id = f"call-{self.number}-{found.index + 1}"
            self.calls.append(ToolCall(id=call_id, name=found.name, arguments=found.arguments))
        elif isinstance(found, Malformed):
            self.malformed.append(found)

    @property
    def message(self) -> Message:
        """The step as a message of the conversation; text that could not be read as a call stays in it."""
        text = self.text + "".join(malformed.raw for malformed in self.malformed)
        end: Literal["eot", "eom"] = "eom" if self.end == "eom" else "eot"
        if not self.calls:
            return Message(role="assistant", content=text, end=end)
        return Message(role="assistant", content=text, end=end, tool_calls=tuple(self.calls))


class Sample:
    """Lets the model write one message; ``next`` gives what the parser finds, and the conversation grows by it.

    However it ends, the transcript holds exactly the tokens that were sampled, and the message, which is appended at
    the end, says what they are. A call counts only when the message was not cut off by a cancel.
    """

    def __init__(
        self,
        step: Step,
        model: Model,
        conversation: Conversation,
        tools: Sequence[ToolSpec],
        sampling: Sampling,
        max_tokens: int | None,
        cancel: CancellationToken,
        constraint: Constraint | None = None,
    ) -> None:
        self._step = step
        self._conversation = conversation
        self._parser = CallParser(tools, code=any(spec.name == CODE_INTERPRETER for spec in tools))
        self._waits = Waits(cancel)
        self._started = time.monotonic()
        self._first: float | None = None
        tokens = conversation.tokens
        self._stream = model.generate(tokens, sampling, max_tokens=max_tokens, constraint=constraint)
        self._over = False

    async def next(self) -> list[ParseEvent] | None:
        """What the next token brings, maybe nothing; None when the message is over. Raises RunCancelled."""
        step = self._step
        if self._over:
            return None
        try:
            self._waits.check()
            token = await self._waits.on(anext(self._stream, None))
        except RunCancelled:
            step.end = "cancelled"
            for found in self._parser.finish():
                step.note(found)
            step.calls.clear()
            raise
        if token is None:
            self._over = True
            events = self._parser.finish()
        else:
            if self._first is None:
                self._first = time.monotonic()
            self._conversation.sampled(token)
            step.output_tokens += 1
            if token.stop:
                step.end = _ENDS[token.stop]
                return []
            events = self._parser.feed(token.text)
        for found in events:
            step.note(found)
        return events

    async def __aenter__(self) -> Self:
        self._waits.__enter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        step = self._step
        self._waits.__exit__()
        try:
            await self._stream.aclose()
        finally:
            now = time.monotonic()
            step.seconds = now - self._started
            step.decode_seconds = now - (self._first or now)
            self._conversation.messages.append(step.message)
