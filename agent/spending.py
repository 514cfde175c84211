"""What a run has spent of its limits: steps, calls, tokens and time."""

from dataclasses import dataclass

from .endings import Ended
from .events import Usage
from .limits import Limits
from .step import Step


@dataclass(slots=True)
class Spending:
    """Counts what a run uses, and ends it where a limit is reached; agents that the run calls count here, too."""

    limits: Limits
    steps: int = 0
    tool_calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    decode_seconds: float = 0.0

    @property
    def usage(self) -> Usage:
        """All of it so far."""
        return Usage(
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            tool_calls=self.tool_calls,
            seconds=self.seconds,
            decode_seconds=self.decode_seconds,
        )

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
        if limit is not None and self.tool_calls >= limit:
            raise Ended("max_steps", f"the limit of {limit} tool calls is reached")
        self.tool_calls += 1

    def tokens_left(self) -> int | None:
        """How many tokens the next message may have, None for any number; raises Ended when there are none left."""
        most, in_all = self.limits.max_tokens, self.limits.max_total_tokens
        left: int | None = None
        if most is None and in_all is None:
            return left
        used, whole = self.output_tokens, self.output_tokens + self.prompt_tokens
        for limit, spent in ((most, used), (in_all, whole)):
            if limit is not None and spent >= limit:
                raise Ended("max_tokens", f"the limit of {limit} tokens is reached")
            if limit is not None:
                left = limit - spent if left is None else min(left, limit - spent)
        return left

    def wrote(self, step: Step) -> None:
        """Count the message of a step; its wall time is part of the run's, and is not counted apart."""
        self.prompt_tokens += step.prompt_tokens
        self.output_tokens += step.output_tokens
        self.decode_seconds += step.decode_seconds

    def took(self, seconds: float) -> None:
        """Note how long the whole run took."""
        self.seconds = seconds

    def left(self) -> dict[str, int]:
        """What is left of the limits, for agents that this run calls."""
        limits = self.limits
        bounds = {
            "max_tokens": (limits.max_tokens, self.output_tokens),
            "max_total_tokens": (limits.max_total_tokens, self.output_tokens + self.prompt_tokens),
            "max_tool_calls": (limits.max_tool_calls, self.tool_calls),
        }
        return {name: most - spent for name, (most, spent) in bounds.items() if most is not None}

    def charge(self, usage: Usage) -> None:
        """Count what an agent that this run called has used; its decoding was not this run's."""
        self.prompt_tokens += usage.prompt_tokens
        self.output_tokens += usage.output_tokens
        self.tool_calls += usage.tool_calls


def usage_of(step: Step) -> Usage:
    """The tokens and the time of one step."""
    return Usage(
        prompt_tokens=step.prompt_tokens,
        output_tokens=step.output_tokens,
        seconds=step.seconds,
        decode_seconds=step.decode_seconds,
    )
