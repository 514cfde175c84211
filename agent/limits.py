"""Bounds of a run."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run; None means unbounded.

    ``max_steps`` counts model calls (Meta's reference loop stops at 10), ``max_tokens`` sampled tokens,
    ``max_seconds`` wall time, ``max_tool_calls`` calls that were run, ``max_repeats`` how often one call with
    the same arguments may give the same result in a row, ``tool_timeout`` seconds for one call of a tool that
    sets no limit itself, ``max_output_chars`` characters of a tool's output that reach the model.
    ``max_retries`` is how often a step is taken back and written anew when its calls cannot be read, name no tool
    or do not fit the tool's schema; after that the model is told what is wrong. ``max_total_tokens`` counts the
    tokens that were new to the model, too. With ``last_answer`` a run that ends with ``max_steps`` or ``loop`` lets
    the model say what it knows, without tools. Raises ValueError for a bound below 0, or no time for tools.
    """

    max_steps: int | None = 25
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_tool_calls: int | None = None
    max_repeats: int = 3
    tool_timeout: float = 60.0
    max_output_chars: int = 20_000
    max_retries: int = 2
    max_total_tokens: int | None = None
    last_answer: bool = True

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and (value < 0 or (one.name == "tool_timeout" and value == 0)):
                raise ValueError(f"{one.name} should be a positive number, and is {value}")
