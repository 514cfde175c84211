"""The screens around a real model: what is read ahead is read once, and what is cut leaves the model's memory."""

import asyncio
from collections.abc import Iterator

import pytest

from arriero.agent import Agent
from arriero.agent.backends import Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.models import bundled_model
from arriero.safety.base import ALLOW, Check, ScreenInput, Verdict
from arriero.safety.policy import Policy, Streaming

GREEDY = Sampling(temperature=0)
QUESTION = "What is 17 times 23? " * 10


@pytest.fixture
def model() -> Iterator[LlamaCppModel]:
    model = LlamaCppModel(bundled_model(), n_threads=1, n_ctx=2048)
    yield model
    asyncio.run(model.aclose())


async def slow(given: ScreenInput) -> Verdict:
    await asyncio.sleep(0.02)
    return ALLOW


def answered(model: LlamaCppModel, guards: Policy) -> tuple[str, int, int]:
    """An answer, the tokens that the model read for it, and those that it computed again."""

    async def ask() -> tuple[str, int, int]:
        before = model.stats
        agent = Agent(model, sampling=GREEDY, guards=guards, date="1 May 2026")
        result = await agent.run(QUESTION)
        after = model.stats
        return result.output, after.prefilled_tokens - before.prefilled_tokens, after.sampled_tokens

    return asyncio.run(ask())


def guarded(check: Check, place: str) -> Policy:
    return Policy.preset("off").with_screen("guard", check, place)  # type: ignore[arg-type]


def test_a_screened_prompt_is_read_once(model: LlamaCppModel) -> None:
    read_ahead = answered(model, guarded(slow, "input"))
    other = LlamaCppModel(bundled_model(), n_threads=1, n_ctx=2048)
    try:
        assert read_ahead == answered(other, Policy.preset("off"))
    finally:
        asyncio.run(other.aclose())


def test_nothing_is_sampled_for_blocked_input(model: LlamaCppModel) -> None:
    async def block(given: ScreenInput) -> Verdict:
        await asyncio.sleep(0.02)
        return Verdict("block")

    agent = Agent(model, guards=guarded(block, "input"))
    result = asyncio.run(agent.run(QUESTION))
    assert (result.stop_reason, model.stats.sampled_tokens) == ("blocked", 0)


def test_after_a_cut_the_model_reads_what_was_shown_and_no_more(model: LlamaCppModel) -> None:
    windows: list[str] = []

    async def second(given: ScreenInput) -> Verdict:
        windows.append(given.text)
        return Verdict("block") if len(windows) == 2 else ALLOW

    async def converse() -> None:
        streaming = Streaming(first=8, window=8, hold=0)
        guards = guarded(second, "output").model_copy(update={"streaming": streaming})
        agent = Agent(model, sampling=GREEDY, guards=guards, date="1 May 2026")
        conversation = agent.conversation()
        first = await agent.run("Who are you and what can you do?", conversation=conversation)
        assert first.stop_reason == "blocked"
        shown = first.output.removesuffix(guards.texts.output).strip()
        assert shown
        assert windows[1].startswith(shown)
        assert len(windows[1]) > len(shown)
        written = [message.content for message in conversation.messages]
        assert written[-1] == first.output
        windows[:] = ["", ""]
        before, kept = model.stats, len(conversation.tokens)
        second_run = await agent.run("And what else?", conversation=conversation)
        assert second_run.stop_reason == "final"
        read = model.stats.prefilled_tokens - before.prefilled_tokens
        reused = model.stats.reused_tokens - before.reused_tokens
        # The memory ends where what was shown ends; the policy's text and the new question are read.
        assert reused < kept
        assert 0 < read < 150

    asyncio.run(converse())
