"""Runs that wait for a decision and go on elsewhere; rules of approval; many tasks; files; typed options."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from arriero.agent import Agent, ConfigError
from arriero.agent.approval import ApprovalRules
from arriero.agent.backends import FunctionModel, ScriptedModel
from arriero.agent.conversation import Conversation, DumpError
from arriero.agent.files import UnreadableFile
from arriero.prompts import ArrieroError
from arriero.tools import tool

TWO = '{"name": "look", "parameters": {"sum": 1}}; {"name": "pay", "parameters": {"sum": 7}}<|eom_id|>'
END = "Done.<|eot_id|>"


def tools(done: list[str]) -> list[Any]:
    @tool(approval=True)
    async def pay(sum: int) -> str:  # noqa: A002
        """Pay."""
        done.append(f"pay {sum}")
        return "paid"

    @tool(effect="read")
    async def look(sum: int) -> str:  # noqa: A002
        """Look."""
        done.append(f"look {sum}")
        return "seen"

    return [pay, look]


@pytest.mark.parametrize(
    ("decision", "done", "told"), [(True, ["pay 7"], "paid"), (False, [], "did not allow")]
)
def test_a_run_that_waits_goes_on_with_the_decision(decision: bool, done: list[str], told: str) -> None:
    first: list[str] = []
    with Agent(ScriptedModel([TWO]), tools=tools(first), guards=None) as agent:
        conversation = agent.conversation()
        result = agent.run_sync("Pay", conversation=conversation)
    assert (result.stop_reason, first) == ("approval", ["look 1"])
    text = conversation.dump()
    second: list[str] = []
    model = ScriptedModel([END])
    with Agent(model, tools=tools(second), guards=None) as agent:
        again = Conversation.load(text, model)
        pending = again.pending
        assert pending is not None
        assert [(call.name, pending.fates[call.id]) for call in pending.to_decide] == [("pay", "undecided")]
        assert [answer.content for answer in pending.answers.values()] == ["seen"]
        result = agent.run_sync(conversation=again, decisions={pending.to_decide[0].id: decision})
    assert (result.output, second) == ("Done.", done)
    answers = [message.content for message in result.messages if message.role == "ipython"]
    assert answers[0] == "seen"
    assert told in answers[1]
    assert len(answers) == 2


def test_without_a_decision_it_waits_again() -> None:
    done: list[str] = []
    with Agent(ScriptedModel([TWO, END]), tools=tools(done), guards=None) as agent:
        conversation = agent.conversation()
        for _ in range(3):
            result = agent.run_sync("Pay" if not conversation.pending else None, conversation=conversation)
            assert result.stop_reason == "approval"
        assert agent.run_sync("Never mind", conversation=conversation).output == "Done."
        assert conversation.pending is None
    assert done == ["look 1"]


def test_nothing_to_go_on_with() -> None:
    with Agent(ScriptedModel([END])) as agent:
        assert "there is nothing to go on with" in (agent.run_sync().error or "")


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1}', "[]", '{"format": 9}', "x"])
def test_what_is_no_conversation(text: str) -> None:
    with pytest.raises(DumpError):
        Conversation.load(text)


@pytest.mark.parametrize(
    ("rules", "asked", "done", "reason"),
    [
        ({"pay(sum=[0-9])": "allow"}, [], ["look 1", "pay 7"], "final"),
        ({"pay(sum=[0-6])": "allow"}, [], ["look 1"], "approval"),
        ({"look": "deny", "*": "allow"}, [], ["pay 7"], "final"),
        ({"*": "ask"}, ["look", "pay"], ["look 1", "pay 7"], "final"),
    ],
)
def test_rules_over_what_a_call_looks_like(
    rules: Any, asked: list[str], done: list[str], reason: str
) -> None:
    said: list[str] = []
    did: list[str] = []
    ask = (lambda name, arguments: said.append(name) is None) if asked else None
    approve = ApprovalRules(rules, ask=ask)
    with Agent(ScriptedModel([TWO, END]), tools=tools(did), guards=None, approve=approve) as agent:
        assert agent.run_sync("Pay").stop_reason == reason
    assert (said, did) == (asked, done)
    with pytest.raises(ValueError, match="should say allow, deny or ask"):
        ApprovalRules({"x": "maybe"})  # type: ignore[dict-item]


def test_map_gives_results_in_order_and_bounds_how_many_run() -> None:
    running, most = 0, 0

    async def answer(prompt: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02 if "task 1" in prompt else 0.001)
        running -= 1
        return prompt.rpartition("task ")[2].split("<")[0] + "<|eot_id|>"

    async def endless() -> AsyncIterator[str]:
        number = 0
        while True:
            yield f"task {number}"
            number += 1

    async def some(agent: Agent[str]) -> list[str]:
        found: list[str] = []
        async for result in agent.map(endless(), concurrency=4):
            found.append(result.output)
            if len(found) == 12:
                return found
        return found

    async def work() -> list[str]:
        async with Agent(FunctionModel(answer), guards=None) as agent:
            return await some(agent)

    assert asyncio.run(work()) == [str(number) for number in range(12)]
    assert 2 <= most <= 4
    with Agent(FunctionModel(answer), guards=None) as agent:
        assert [one.output for one in agent.map_sync(["task 3", "task 4"])] == ["3", "4"]
        with pytest.raises(ConfigError):
            agent.map_sync(["x"], concurrency=0)


def test_files_come_before_the_prompt_and_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one ``` two")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n...")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe\x00")
    model = ScriptedModel([END])
    with Agent(model, guards=None) as agent:
        agent.run_sync("Sum up", files=[tmp_path / "a.txt"])
        assert "a.txt:\n````\none ``` two\n````\n\nSum up" in model.prompts[0]
        for name, why in (
            ("b.png", "is an image, and the model reads text only"),
            ("c.bin", "is no"),
            ("d", "No such"),
        ):
            with pytest.raises(UnreadableFile, match=why):
                agent.run_sync("Sum up", files=[tmp_path / name])


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ArrieroError, match="there is no model file"):
        Agent("no/such/model.gguf")
