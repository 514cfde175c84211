"""What a run tells its caller while it happens: one frozen model per event, discriminated by ``type``."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from arriero.prompts import Message

StopReason = Literal[
    "final", "max_steps", "max_tokens", "max_seconds", "cancelled", "blocked", "approval", "loop", "error"
]


class Usage(BaseModel):
    """Tokens and time: of a step in StepFinished, of the whole run in RunFinished.

    ``prompt_tokens`` were new to the model (not already in its cache), ``output_tokens`` were sampled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    seconds: float = 0.0
    decode_seconds: float = 0.0


EVENT_FORMAT = 1
"""The version of the events, which ``--json`` writes as ``v``: it grows when a reader would have to know."""


class _Event(BaseModel):
    # Built when the first of a kind is made: a program that starts needs few of them. What a later version adds is
    # left out when an event is read.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    run_id: str
    seq: int


class RunStarted(_Event):
    """First event of every run."""

    type: Literal["run_started"] = "run_started"
    model: str
    tools: tuple[str, ...]


class StepStarted(_Event):
    """A model call begins; ``context_tokens`` are in the transcript, ``new_tokens`` of them not yet
    evaluated.
    """

    type: Literal["step_started"] = "step_started"
    step: int
    context_tokens: int
    new_tokens: int
    context_length: int


class TextDelta(_Event):
    """Text that belongs to the answer."""

    type: Literal["text_delta"] = "text_delta"
    text: str


class ToolCallDelta(_Event):
    """Raw text of a call that is being written."""

    type: Literal["tool_call_delta"] = "tool_call_delta"
    index: int
    text: str


class ToolCallStarted(_Event):
    """A call has been read, checked, and now runs."""

    type: Literal["tool_call_started"] = "tool_call_started"
    call_id: str
    name: str
    arguments: dict[str, Any]


class ToolCallEdited(_Event):
    """A person has changed a call before it ran: ``arguments`` take the place of those it was started with."""

    type: Literal["tool_call_edited"] = "tool_call_edited"
    call_id: str
    name: str
    arguments: dict[str, Any]


class ToolOutputDelta(_Event):
    """Output of a tool that is still running."""

    type: Literal["tool_output_delta"] = "tool_output_delta"
    call_id: str
    stream: str
    text: str


class ArtifactRef(BaseModel):
    """An artifact of a call; ``data`` is base64 in JSON."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    name: str
    mime: str
    data: bytes = Field(repr=False)


class ToolCallFinished(_Event):
    """A call has ended; ``content`` is what the model reads."""

    type: Literal["tool_call_finished"] = "tool_call_finished"
    call_id: str
    name: str
    ok: bool
    content: str
    artifacts: tuple[ArtifactRef, ...] = ()
    seconds: float


class GuardrailChecked(_Event):
    """A screen has answered, and the policy has made ``action`` of it.

    ``place`` is input, tool_call, code, tool_result or output. ``score`` is what was compared with ``threshold``,
    ``scores`` are by label; ``failed`` says that the screen could not judge. ``call_id`` names the call that was
    screened, or whose result.
    """

    type: Literal["guardrail_checked"] = "guardrail_checked"
    place: str
    screen: str
    action: Literal["allow", "replace", "retry", "ask", "block"]
    score: float | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    categories: tuple[str, ...] = ()
    threshold: float | None = None
    seconds: float = 0.0
    reason: str = ""
    failed: bool = False
    call_id: str | None = None


class ApprovalRequested(_Event):
    """A call waits for a decision; ``reason`` says why it needs one, where that is known."""

    type: Literal["approval_requested"] = "approval_requested"
    call_id: str
    name: str
    arguments: dict[str, Any]
    reason: str = ""


class ContextCompacted(_Event):
    """Part of the conversation was taken out of the context; ``removed`` says what."""

    type: Literal["context_compacted"] = "context_compacted"
    removed: str
    tokens_before: int
    tokens_after: int


class ModelRetried(_Event):
    """What the model wrote could not be used.

    With ``discarded_tokens`` the message was taken back, that many tokens and whatever text it gave, and the next
    step writes it anew; else it stands and the model was told what is wrong with it.
    """

    type: Literal["model_retried"] = "model_retried"
    reason: str
    discarded_tokens: int = 0


class StepFinished(_Event):
    """A model call has ended."""

    type: Literal["step_finished"] = "step_finished"
    step: int
    end: Literal["eot", "eom", "eos", "length", "cancelled"]
    usage: Usage


class RunFinished(_Event):
    """Last event of every run."""

    type: Literal["run_finished"] = "run_finished"
    stop_reason: StopReason
    output: str
    error: str | None = None
    new_messages: tuple[Message, ...] = ()
    usage: Usage


Event = Annotated[
    RunStarted
    | StepStarted
    | TextDelta
    | ToolCallDelta
    | ToolCallStarted
    | ToolCallEdited
    | ToolOutputDelta
    | ToolCallFinished
    | GuardrailChecked
    | ApprovalRequested
    | ContextCompacted
    | ModelRetried
    | StepFinished
    | RunFinished,
    Field(discriminator="type"),
]

EventAdapter: TypeAdapter[Event] = TypeAdapter(Event, config=ConfigDict(defer_build=True))
"""Reads an event back from JSON: ``EventAdapter.validate_json(line)``."""
