"""When a message is taken back and written anew, and what is asked of the model then."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from arriero.prompts import CODE_INTERPRETER
from arriero.prompts.parser import CallParser, Catalogue
from arriero.tools import Tool

from .backends import Constraint, Model, Sampling
from .calls import refusal
from .limits import Limits
from .output import Output, OutputError
from .step import Step


@dataclass(slots=True)
class Attempts:
    """The attempts of one run at messages that can be used.

    ``again`` counts those that were taken back, whoever asked for it: each is sampled with another seed. ``failed``
    counts them since the last message that could be used.
    """

    model: Model
    tools: Mapping[str, Tool]
    limits: Limits
    sampling: Sampling
    output: Output[object] | None = None
    again: int = 0
    failed: int = 0
    asked: int = 0
    _catalogue: Catalogue = field(init=False)
    _free: Constraint | None = field(init=False)

    def __post_init__(self) -> None:
        specs = tuple(tool.spec for tool in self.tools.values())
        answer = self.output.schema if self.output else None
        self._catalogue = Catalogue(specs)
        self._free = Constraint(specs, answer) if specs or answer else None

    def parser(self) -> CallParser:
        """What reads the next message."""
        return CallParser(self._catalogue, code=CODE_INTERPRETER in self.tools)

    def settings(self) -> Sampling:
        """How the next message is sampled."""
        if not self.again or self.sampling.seed is None:
            return self.sampling
        return replace(self.sampling, seed=self.sampling.seed + self.again)

    def constraint(self, *, last: bool = False) -> Constraint | None:
        """What the next message may be: a call where one went wrong before; no call where it is the last one."""
        free = self._free
        if free is None or (not last and not self.failed):
            return free
        if not last:
            return replace(free, required=True)
        return None if free.answer is None else replace(free, tools=())

    def unusable(self, step: Step) -> str | None:
        """Why a message has to be written anew; None if its calls can be served, or if it must stand as it is."""
        reason = self._fault(step)
        if reason is None:
            self.failed = 0
            return None
        # Without a constraint, the likeliest tokens would only be the same again.
        if self.failed >= self.limits.max_retries or not (
            self.model.constrains or self.sampling.temperature > 0
        ):
            self.failed = 0
            return None
        self.failed += 1
        return reason

    def unfit(self, text: str) -> str | None:
        """Why an answer has not the form that was asked for; raises OutputError when it was asked for too often."""
        problem = self.output.problem(text) if self.output else None
        if problem is None:
            return None
        if self.asked >= self.limits.max_retries:
            raise OutputError(f"the answer has not the form that was asked for: {problem}")
        self.asked += 1
        return problem

    def _fault(self, step: Step) -> str | None:
        if step.end in ("length", "cancelled"):
            return None
        if step.malformed:
            return step.malformed[0].reason
        refusals = step.refusals = {}
        fault = None
        for call in step.calls:
            refused = refusals[call.id] = refusal(call, self.tools)
            if refused and refused.mends and fault is None:
                fault = refused.reason
        return fault
