"""One step: the model writes a message, and what it writes is read while it is written."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from arriero.prompts import Message, ToolCall
from arriero.prompts.parser import ArgumentsDelta, CallDone, Malformed, ParseEvent, TextDelta

from .backends import Token
from .cancellation import RunCancelled
from .recorder import Generated

if TYPE_CHECKING:
    from .calls import Refusal
    from .run import Run

StepEnd = Literal["eot", "eom", "eos", "length", "cancelled"]
_ENDS: dict[str, StepEnd] = {"eot": "eot", "eom": "eom", "eos": "eos"}


@dataclass(slots=True)
class Step:
    """What the model wrote; filled while it writes.

    ``end`` is the stop token that it wrote, ``length`` when it ran out of tokens, ``cancelled`` when it was
    stopped. ``prompt_tokens`` were new to the model; ``seconds`` is wall time, ``decode_seconds`` from the
    first token on. ``texts`` are those of its tokens, ``unshown`` pieces of calls that wait for their screens;
    ``refusals`` says of each call, once that was looked at, what keeps it from running; ``retry`` says why the
    message shall be written anew.
    """

    number: int
    calls: list[ToolCall] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list, init=False)
    end: StepEnd = "length"
    prompt_tokens: int = 0
    seconds: float = 0.0
    decode_seconds: float = 0.0
    texts: list[str] = field(default_factory=list, init=False)
    unshown: list[ArgumentsDelta] = field(default_factory=list, init=False)
    refusals: "dict[str, Refusal | None] | None" = None
    retry: str | None = None
    _pieces: list[str] = field(default_factory=list, init=False)

    @property
    def output_tokens(self) -> int:
        """How many tokens it wrote."""
        return len(self.texts)

    @property
    def text(self) -> str:
        """What it wrote beside calls."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @text.setter
    def text(self, text: str) -> None:
        self._pieces = [text]

    def note(self, events: Iterable[ParseEvent]) -> None:
        """Take down what was found in what the model writes."""
        for found in events:
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

    def __init__(self, run: "Run", step: Step, *, last: bool = False) -> None:
        attempts, tokens = run.attempts, run.conversation.tokens
        sampling, constraint, most = (
            attempts.settings(),
            attempts.constraint(last=last),
            run.spending.tokens_left(),
        )
        self._step = step
        self._run = run
        self._generated = Generated(len(tokens), sampling.seed, most, constraint, step.texts)
        self._parser = attempts.parser()
        self._started = time.monotonic()
        self._first = 0.0
        self._stream = run.model.generate(tokens, sampling, max_tokens=most, constraint=constraint)
        self._over = False

    async def next(self) -> list[ParseEvent] | None:
        """What the next tokens bring; None when the message is over. Raises RunCancelled."""
        step, waits, stream, parser = self._step, self._run.waits, self._stream, self._parser
        while not self._over:
            try:
                token = await waits.next(stream)
            except RunCancelled:
                step.end = "cancelled"
                step.note(parser.finish())
                step.calls.clear()
                raise
            if token is None:
                self._over = True
                events = parser.finish()
            else:
                self._take(token)
                events = [] if token.stop else parser.feed(token.text)
            if events:
                step.note(events)
                return events
        return None

    def _take(self, token: Token) -> None:
        texts = self._step.texts
        if not texts:
            self._first = time.monotonic()
        texts.append(token.text)
        self._run.conversation.sampled(token)
        if token.stop:
            self._generated.stop = token.stop
            self._step.end = _ENDS[token.stop]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        step, run, generated = self._step, self._run, self._generated
        try:
            await self._stream.aclose()
        finally:
            now = time.monotonic()
            step.seconds = now - self._started
            step.decode_seconds = now - (self._first or now)
            generated.ids = run.conversation.tokens[generated.prompt_tokens :]
            run.recorder.heard(generated)
            run.conversation.messages.append(step.message)
