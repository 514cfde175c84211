"""Spans and metrics of runs by OpenTelemetry's conventions for generative AI, where its API is installed.

Names are those of the semantic conventions (gen_ai.*, version 1.37): a span ``invoke_agent`` for a run, in it
``chat`` for each message of the model and ``execute_tool`` for each call. No texts are recorded, only names and
numbers.
"""

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from .events import (
    Event,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    ToolCallFinished,
    ToolCallStarted,
    Usage,
)

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

_NAME: Final = "arriero"
_FINE: Final = ("final", "approval")


class Telemetry:
    """A hook that turns the events of runs into spans and metrics; one serves any number of runs.

    Without providers those of the program are used, which record nothing until it sets some up.
    """

    def __init__(
        self, tracers: "TracerProvider | None" = None, meters: "MeterProvider | None" = None
    ) -> None:
        from opentelemetry import metrics, trace

        self._trace = trace
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracers)
        meter = metrics.get_meter(_NAME, meter_provider=meters)
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
        self._seconds = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        self._runs: dict[str, _Spans] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunStarted):
            span = self._tracer.start_span("invoke_agent", attributes=_about("invoke_agent", event.model))
            self._runs[event.run_id] = _Spans(event.model, span, self._trace.set_span_in_context(span))
        spans = self._runs.get(event.run_id)
        if spans is None:
            return
        if isinstance(event, StepStarted):
            name = f"chat {spans.model}"
            attributes = _about("chat", spans.model)
            spans.step = self._tracer.start_span(name, context=spans.context, attributes=attributes)
        elif isinstance(event, StepFinished):
            self._end_step(spans, event)
        elif isinstance(event, ToolCallStarted):
            attributes = {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": event.name,
                "gen_ai.tool.call.id": event.call_id,
            }
            spans.calls[event.call_id] = self._tracer.start_span(
                f"execute_tool {event.name}", context=spans.context, attributes=attributes
            )
        elif isinstance(event, ToolCallFinished):
            span = spans.calls.pop(event.call_id, None)
            if span is not None:
                if not event.ok:
                    span.set_attribute("error.type", "tool_error")
                span.end()
        elif isinstance(event, RunFinished):
            self._end_run(spans, event)

    def _end_step(self, spans: "_Spans", event: StepFinished) -> None:
        about = _about("chat", spans.model)
        self._seconds.record(event.usage.seconds, about)
        self._tokens.record(event.usage.prompt_tokens, {**about, "gen_ai.token.type": "input"})
        self._tokens.record(event.usage.output_tokens, {**about, "gen_ai.token.type": "output"})
        if spans.step is not None:
            _count(spans.step, event.usage)
            spans.step.set_attribute("gen_ai.response.finish_reasons", (event.end,))
            spans.step.end()
            spans.step = None

    def _end_run(self, spans: "_Spans", event: RunFinished) -> None:
        for left in (*spans.calls.values(), *([spans.step] if spans.step is not None else [])):
            left.set_attribute("error.type", event.stop_reason)
            left.end()
        _count(spans.run, event.usage)
        spans.run.set_attribute("gen_ai.response.finish_reasons", (event.stop_reason,))
        if event.stop_reason not in _FINE:
            spans.run.set_attribute("error.type", event.stop_reason)
        spans.run.end()
        del self._runs[event.run_id]

    def forget(self, run_id: str) -> None:
        """End what is open of a run that nobody listens to any more."""
        spans = self._runs.pop(run_id, None)
        for span in spans.open if spans else ():
            span.set_attribute("error.type", "cancelled")
            span.end()


class _Spans:
    """What is open of one run."""

    def __init__(self, model: str, run: Any, context: Any) -> None:
        self.model = model
        self.run = run
        self.context = context
        self.step: Any = None
        self.calls: dict[str, Any] = {}

    @property
    def open(self) -> list[Any]:
        return [*self.calls.values(), *([self.step] if self.step is not None else []), self.run]


def telemetry() -> Telemetry | None:
    """The program's telemetry; None where ``opentelemetry-api`` is not installed or no provider was set up yet."""
    if "opentelemetry.trace" not in sys.modules and "opentelemetry.metrics" not in sys.modules:
        return (
            None  # whoever sets up a provider imports one of them; importing them here would cost every start
        )
    from opentelemetry import metrics, trace

    providers = (trace.get_tracer_provider(), metrics.get_meter_provider())
    return _program() if any("Proxy" not in type(one).__name__ for one in providers) else None


@cache
def _program() -> Telemetry:
    return Telemetry()


def _about(operation: str, model: str) -> dict[str, str]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _NAME,
        "gen_ai.request.model": model,
    }


def _count(span: Any, usage: Usage) -> None:
    span.set_attribute("gen_ai.usage.input_tokens", usage.prompt_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
