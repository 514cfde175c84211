"""Who watches a run: hooks, consumers that are slow, raise or leave, and OpenTelemetry."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from arriero.agent import Agent, CancellationToken
from arriero.agent.backends import FunctionModel, ScriptedModel
from arriero.agent.events import Event, RunFinished, TextDelta, ToolCallStarted
from arriero.agent.journal import Journal
from arriero.agent.telemetry import Telemetry
from arriero.tools import tool

CALL = '{"name": "look", "parameters": {"x": 1}}<|eom_id|>'
END = "Seen.<|eot_id|>"


@tool(effect="read")
async def look(x: int) -> int:
    """Look."""
    return x


def test_hooks_see_every_event_and_cannot_break_a_run(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def broken(event: Event) -> None:
        raise KeyError("lost")

    with (
        Agent(
            ScriptedModel([CALL, END]), tools=[look], hooks=[lambda event: seen.append(event.type), broken]
        ) as agent,
        caplog.at_level(logging.CRITICAL, "arriero"),
    ):
        events = list(agent.stream_sync("Go"))
    assert seen == [event.type for event in events]
    assert events[-1].stop_reason == "final"  # type: ignore[union-attr]


def test_a_consumer_that_raises_stops_the_run_and_the_conversation_goes_on(tmp_path: Any) -> None:
    journal = Journal(tmp_path / "journal.db")
    model = ScriptedModel(["word " * 5000, END])
    with Agent(model, journal=journal, guards=None) as agent:
        conversation = agent.conversation()

        def consume() -> None:
            for event in agent.stream_sync("Go", conversation=conversation):
                if isinstance(event, TextDelta):
                    raise ValueError("consumer")

        with pytest.raises(ValueError, match="consumer"):
            consume()
        assert conversation.messages[-1].content.startswith("word")
        assert agent.run_sync("And?", conversation=conversation).output == "Seen."
        assert [run.stop_reason for run in journal.runs()] == ["final", "cancelled"]
        assert journal.conversation(conversation.id).messages == conversation.messages
    journal.close()


def test_a_slow_consumer_loses_nothing() -> None:
    async def work() -> list[Event]:
        events = []
        async with Agent(ScriptedModel([CALL, END]), tools=[look]) as agent:
            async for event in agent.stream("Go"):
                await asyncio.sleep(0.01)
                events.append(event)
        return events

    events = asyncio.run(work())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("where", ["step_started", "text_delta", "tool_call_started", "tool_call_finished"])
def test_cancel_at_any_event_returns_soon_and_leaves_a_whole_journal(where: str, tmp_path: Any) -> None:
    journal = Journal(tmp_path / "journal.db")

    async def answer(prompt: str) -> str:
        await asyncio.sleep(0.01)
        return END if "<|eom_id|>" in prompt else "Text first. " + CALL

    cancel = CancellationToken()
    threads = threading.active_count()
    with Agent(FunctionModel(answer), tools=[look], journal=journal, guards=None) as agent:
        conversation = agent.conversation()
        for event in agent.stream_sync("Go", conversation=conversation, cancel=cancel):
            if event.type == where:
                cancel.cancel()
                asked = time.thread_time()
        assert isinstance(event, RunFinished)
        assert time.thread_time() - asked < 0.15
        kept = journal.conversation(conversation.id)
        assert kept.messages == conversation.messages
        assert kept.tokens == conversation.tokens
        assert journal.run("last").stop_reason == event.stop_reason
        calls = sum(len(message.tool_calls) for message in conversation.messages)
        assert calls == sum(message.role == "ipython" for message in conversation.messages)
    journal.close()
    assert threading.active_count() <= threads


def test_leaving_while_a_call_runs_ends_it() -> None:
    ended = threading.Event()

    @tool(effect="read")
    async def waits() -> str:
        """Wait."""
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return ""

    async def work() -> None:
        agent = Agent(
            ScriptedModel(['{"name": "waits", "parameters": {}}<|eom_id|>']), tools=[waits], guards=None
        )
        stream = agent.stream("Go")
        async for event in stream:
            if isinstance(event, ToolCallStarted):
                task = asyncio.ensure_future(anext(stream))
                await asyncio.sleep(0.05)
                task.cancel()
                await asyncio.wait([task])
                break
        await stream.aclose()

    asyncio.run(work())
    assert ended.is_set()


def recording() -> tuple[Telemetry, Callable[[], list[Any]]]:
    """A telemetry of its own, and the spans that it has ended."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Telemetry(provider), lambda: list(exporter.get_finished_spans())


def test_spans_follow_the_conventions_and_hold_no_texts() -> None:
    telemetry, spans = recording()
    with Agent(ScriptedModel([CALL, END], name="m"), tools=[look], hooks=[telemetry]) as agent:
        agent.run_sync("My secret question")
    found = spans()
    assert [span.name for span in found] == ["chat m", "execute_tool look", "chat m", "invoke_agent"]
    run = found[-1]
    assert all(span.parent.span_id == run.context.span_id for span in found[:-1])
    assert found[0].attributes["gen_ai.operation.name"] == "chat"
    assert found[0].attributes["gen_ai.usage.output_tokens"] > 0
    assert found[1].attributes["gen_ai.tool.call.id"] == "call-1-1"
    assert run.attributes["gen_ai.response.finish_reasons"] == ("final",)
    assert not any("secret" in str(dict(span.attributes)) for span in found)


def test_spans_of_a_run_that_nobody_listens_to_end() -> None:
    telemetry, spans = recording()
    with Agent(ScriptedModel(["word " * 50]), hooks=[telemetry], guards=None) as agent:
        run_id = next(iter(agent.stream_sync("Go"))).run_id
        telemetry.forget(run_id)
    assert {span.name for span in spans()} <= {"invoke_agent", "chat scripted"}
