"""One run: what it was given, what has come of it so far, and its events."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from arriero.safety.pipeline import Outcome
from arriero.tools import Tool

from .approval import Approve, Decided
from .attempts import Attempts
from .backends import Model, Sampling
from .calls import Repeats, Service
from .cancellation import CancellationToken, Waits
from .context import ContextPolicy
from .conversation import Conversation
from .events import Event, GuardrailChecked
from .limits import Limits
from .recorder import Recorder
from .screening import Screening, report
from .spending import Spending

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)
Hook = Callable[[Event], object]


@dataclass(slots=True)
class Run:
    """What the parts of the loop share while an agent goes through a conversation once.

    ``output`` is the answer as far as it was shown; ``continues`` says that the next message goes on with it.
    ``waits`` interrupts what the run waits for, once it has been entered.
    """

    run_id: str
    model: Model
    tools: Mapping[str, Tool]
    conversation: Conversation
    limits: Limits
    sampling: Sampling
    cancel: CancellationToken
    screening: Screening
    attempts: Attempts
    deps: Any = None
    approve: Approve | None = None
    context: ContextPolicy | None = None
    recorder: Recorder = field(default_factory=Recorder)
    decisions: Mapping[str, Decided] = field(default_factory=dict)
    hooks: Sequence[Hook] = ()
    output: str = ""
    continues: bool = False
    spending: Spending = field(init=False)
    repeats: Repeats = field(init=False)
    waits: Waits = field(init=False)
    service: Service = field(init=False)
    _seq: int = 0

    def __post_init__(self) -> None:
        self.spending = Spending(self.limits)
        self.repeats = Repeats(self.limits.max_repeats)
        self.waits = Waits(self.cancel)
        self.service = Service(
            self.tools,
            self.limits,
            self.waits,
            self.deps,
            self.approve,
            self.conversation.id,
            self.recorder,
            self.spending,
        )

    def event(self, kind: type[E], **values: Any) -> E:
        """The next event of the run; the recorder and the hooks hear of it before anybody else."""
        self._seq += 1
        values["run_id"], values["seq"] = self.run_id, self._seq
        event: E = kind.__pydantic_validator__.validate_python(values)
        self.recorder.event(event)
        for hook in self.hooks:
            try:
                hook(event)
            except Exception:
                log.exception("a hook failed at %s of run %s", event.type, self.run_id)
        return event

    def checked(self, outcome: Outcome, call_id: str | None = None) -> list[GuardrailChecked]:
        """An event for each screen that was asked."""
        if not outcome.checks:
            return []
        return [self.event(GuardrailChecked, **report(check, call_id)) for check in outcome.checks]
