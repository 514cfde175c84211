"""What a run has spent of its limits: steps, calls, tokens and time."""

from dataclasses import dataclass, field

from .endings import Ended
from .events import Usage
from .limits import Limits
from .step import Step


@dataclass(slots=True)
class Spending:
    """Counts what a run uses, and ends it where a limit is reached; agents that the run calls count here, too."""

    limits: Limits
    steps: int = 0
    usage: Usage = field(default_factory=Usage)

    def next_step(self) -> int:
        """The number of the step that begins; raises Ended when there were as many as may be."""
        limit = self.limits.max_steps
        if limit is not None and self.steps >= limit:
            raise Ended("max_steps", f"the limit of {limit} steps is reached")
        self.steps += 1
        return self.steps

    def next_call(self) -> None:
        """Count a call that is about to be served; raises Ended when there were as many as may be."""
        limit = self.limits.max_tool_calls
        if limit is not None and self.usage.tool_calls >= limit:
            raise Ended("max_steps", f"the limit of {limit} tool calls is reached")
        self._add(Usage(tool_calls=1))

    def tokens_left(self) -> int | None:
        """How many tokens the next message may have, None for any number; raises Ended when there are none left."""
        used, whole = self.usage.output_tokens, self.usage.output_tokens + self.usage.prompt_tokens
        left: int | None = None
        for limit, spent in ((self.limits.max_tokens, used), (self.limits.max_total_tokens, whole)):
            if limit is not None and spent >= limit:
                raise Ended("max_tokens", f"the limit of {limit} tokens is reached")
            if limit is not None:
                left = limit - spent if left is None else min(left, limit - spent)
        return left

    def wrote(self, step: Step) -> None:
        """Count the message of a step; its wall time is part of the run's, and is not counted apart."""
        self._add(usage_of(step))

    def took(self, seconds: float) -> None:
        """Note how long the whole run took."""
        self.usage = self.usage.model_copy(update={"seconds": seconds})

    def left(self) -> dict[str, int]:
        """What is left of the limits, for agents that this run calls."""
        used, limits = self.usage, self.limits
        bounds = {
            "max_tokens": (limits.max_tokens, used.output_tokens),
            "max_total_tokens": (limits.max_total_tokens, used.output_tokens + used.prompt_tokens),
            "max_tool_calls": (limits.max_tool_calls, used.tool_calls),
        }
        return {name: most - spent for name, (most, spent) in bounds.items() if most is not None}

    def charge(self, usage: Usage) -> None:
        """Count what an agent that this run called has used; its decoding was not this run's."""
        self._add(usage.model_copy(update={"decode_seconds": 0.0}))

    def _add(self, more: Usage) -> None:
        used = self.usage
        self.usage = Usage(
            prompt_tokens=used.prompt_tokens + more.prompt_tokens,
            output_tokens=used.output_tokens + more.output_tokens,
            tool_calls=used.tool_calls + more.tool_calls,
            seconds=used.seconds,
            decode_seconds=used.decode_seconds + more.decode_seconds,
        )


def usage_of(step: Step) -> Usage:
    """The tokens and the time of one step."""
    return Usage(
        prompt_tokens=step.prompt_tokens,
        output_tokens=step.output_tokens,
        seconds=step.seconds,
        decode_seconds=step.decode_seconds,
    )
