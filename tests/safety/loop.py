"""Runs with screens: a guard that flags a word, a tool that counts its calls, and one run from start to end."""

from collections.abc import Sequence
from typing import Any

from arriero.agent import Agent, RunResult
from arriero.agent.backends import FunctionModel
from arriero.agent.events import Event, GuardrailChecked, RunFinished, TextDelta
from arriero.safety.base import ALLOW, Check, Place, ScreenInput, Verdict
from arriero.safety.policy import Policy, Rule
from arriero.tools import tool

CALL = '{"name": "send", "parameters": {"text": "hello"}}<|eom_id|>'
CODE = "<|python_tag|>print(1)<|eom_id|>"


def flagging(word: str, action: Any = "block", **fields: Any) -> Check:
    """A guard that flags every text with a word in it."""

    async def check(given: ScreenInput) -> Verdict:
        if word not in given.text:
            return ALLOW
        return Verdict(action, score=1.0, categories=("S1",), reason=f"it says {word}", **fields)

    return check


def policy(screen: Any, *places: Place, **rule: Any) -> Policy:
    return Policy.model_validate(
        {"screens": {"guard": screen}, **{place: {"guard": Rule(**rule)} for place in places}}
    )


class Sender:
    """A tool that counts what it has done."""

    def __init__(self, answer: str = "sent") -> None:
        self.sent: list[str] = []
        self.answer = answer

    @property
    def tool(self) -> Any:
        return self.made()

    def made(self, *, approval: bool = False) -> Any:
        """The tool, which may need approval by itself."""

        @tool(approval=approval)
        def send(text: str) -> str:
            """Send a text.

            Args:
                text: what to send
            """
            self.sent.append(text)
            return self.answer

        return send


def run(model: FunctionModel, guards: Policy, **options: Any) -> tuple[RunResult, list[Event]]:
    with Agent(model, guards=guards, **options) as agent:
        conversation = agent.conversation()
        events = list(agent.stream_sync("hello", conversation=conversation))
        end = events[-1]
        assert isinstance(end, RunFinished)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        result = RunResult(
            end.output,
            tuple(conversation.messages),
            end.new_messages,
            end.usage,
            end.stop_reason,
            end.run_id,
            end.error,
        )
        # The transcript holds what the messages hold, and nothing besides.
        transcript = model.detokenize(conversation.tokens)
        for message in conversation.messages:
            assert message.content in transcript
        return result, events


def shown(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def checked(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event.place, event.action) for event in events if isinstance(event, GuardrailChecked)]
