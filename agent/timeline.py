"""Where the time of a run went: its events as spans of prefill, decode, tools and screens."""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from .events import (
    ApprovalRequested,
    ContextCompacted,
    Event,
    GuardrailChecked,
    ModelRetried,
    RunFinished,
    StepFinished,
    StepStarted,
    ToolCallEdited,
    ToolCallFinished,
    ToolCallStarted,
)

Lane = Literal["model", "tools", "screens", "run"]
Kind = Literal["prefill", "decode", "tool", "screen", "mark"]
State = Literal["ok", "failed", "unfinished"]

LANES: Final[tuple[Lane, ...]] = ("model", "tools", "screens", "run")
"""From top to bottom. ``run`` has what takes no time: retries, approvals, an ending that is no answer."""


class Span(BaseModel):
    """Something that took time. ``start`` is in seconds since the run began; ``tokens`` were read anew (prefill) or
    sampled (decode); ``note`` says in words what came of it.

    ``failed`` are tools that told the model of an error and screens that let something not pass as it was;
    ``unfinished`` is what the end of the events cut off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lane: Lane
    kind: Kind
    name: str
    start: float
    seconds: float = 0.0
    tokens: int = 0
    state: State = "ok"
    note: str = ""


class Timeline(BaseModel):
    """The spans of one run in the order of their start, and how long it took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spans: tuple[Span, ...] = ()
    seconds: float = 0.0

    @classmethod
    def of(cls, happened: Sequence[tuple[float, Event]]) -> "Timeline":
        """The timeline of a run from its events, each with its moment in seconds by any clock.

        That is what ``Journal.events`` returns. Where the clock was put back, time stands still until it is past
        the latest moment again.
        """
        reader = _Reader()
        for moment, event in happened:
            reader.read(moment, event)
        return reader.timeline()

    def spent(self) -> dict[Kind, float]:
        """Seconds by kind; screens that ran side by side or while the model wrote are counted each."""
        spent: dict[Kind, float] = dict.fromkeys(("prefill", "decode", "tool", "screen"), 0.0)
        for span in self.spans:
            if span.kind != "mark":
                spent[span.kind] += span.seconds
        return spent


class _Reader:
    """Puts spans together from the events that begin and end them."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._now = 0.0
        self._spans: list[Span] = []
        self._step: tuple[float, StepStarted] | None = None
        self._calls: dict[str, tuple[float, ToolCallStarted]] = {}

    def read(self, moment: float, event: Event) -> None:
        """Take one event."""
        self._begun = moment if self._begun is None else self._begun
        self._now = max(self._now, moment - self._begun)
        match event:
            case StepStarted():
                self._step = self._now, event
            case StepFinished():
                self._wrote(event)
            case ToolCallStarted():
                self._calls[event.call_id] = self._now, event
            case ToolCallFinished():
                self._called(event)
            case GuardrailChecked():
                self._checked(event)
            case ModelRetried():
                self._mark("retried", event.reason)
            case ContextCompacted():
                went = event.tokens_before - event.tokens_after
                self._mark("compacted", f"{event.removed}: {went} tokens")
            case ToolCallEdited():
                self._mark("edited", event.name)
            case ApprovalRequested():
                self._mark("approval", f"{event.name} {event.reason}".strip())
            case RunFinished() if event.stop_reason != "final":
                self._mark(event.stop_reason, event.error or "")

    def timeline(self) -> Timeline:
        """What there is, with what had not ended as far as it is known."""
        if self._step is not None:
            start, step = self._step
            self._cut("model", "decode", f"step {step.step}", start)
        for start, call in self._calls.values():
            self._cut("tools", "tool", call.name, start)
        ends = [span.start + span.seconds for span in self._spans]
        return Timeline(
            spans=tuple(sorted(self._spans, key=lambda span: span.start)), seconds=max([self._now, *ends])
        )

    def _wrote(self, event: StepFinished) -> None:
        usage, name = event.usage, f"step {event.step}"
        read = max(0.0, usage.seconds - usage.decode_seconds)
        note = ""
        if self._step is not None:
            start, begun = self._step
            cached = begun.context_tokens - begun.new_tokens
            note = (
                f"{begun.context_tokens} of {begun.context_length} tokens in context, {cached} from the cache"
            )
        else:
            start = max(0.0, self._now - usage.seconds)
        self._step = None
        self._add("model", "prefill", name, start, read, tokens=usage.prompt_tokens, note=note)
        state: State = "unfinished" if event.end in ("length", "cancelled") else "ok"
        self._add(
            "model",
            "decode",
            name,
            start + read,
            usage.decode_seconds,
            tokens=usage.output_tokens,
            state=state,
            note="" if state == "ok" else event.end,
        )

    def _called(self, event: ToolCallFinished) -> None:
        begun = self._calls.pop(event.call_id, None)
        start = begun[0] if begun else max(0.0, self._now - event.seconds)
        state: State = "ok" if event.ok else "failed"
        self._add("tools", "tool", event.name, start, event.seconds, state=state)

    def _checked(self, event: GuardrailChecked) -> None:
        said = "failed" if event.failed else event.action
        score = "" if event.score is None else f" at {event.score:.2f}"
        note = f"{event.place}: {said}{score} {event.reason}".strip()
        state: State = "ok" if event.action == "allow" and not event.failed else "failed"
        start = max(0.0, self._now - event.seconds)
        self._add("screens", "screen", event.screen, start, event.seconds, state=state, note=note)

    def _mark(self, name: str, note: str) -> None:
        self._add("run", "mark", name, self._now, note=note)

    def _cut(self, lane: Lane, kind: Kind, name: str, start: float) -> None:
        self._add(lane, kind, name, start, self._now - start, state="unfinished", note="it did not end")

    def _add(
        self,
        lane: Lane,
        kind: Kind,
        name: str,
        start: float,
        seconds: float = 0.0,
        *,
        tokens: int = 0,
        state: State = "ok",
        note: str = "",
    ) -> None:
        self._spans.append(
            Span(
                lane=lane,
                kind=kind,
                name=name,
                start=start,
                seconds=seconds,
                tokens=tokens,
                state=state,
                note=note,
            )
        )
