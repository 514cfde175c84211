"""What the tokens of a conversation are: instructions, tools, what was said, results of tools."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arriero.prompts import Message, Segment

if TYPE_CHECKING:
    from .session import Session


@dataclass(frozen=True, slots=True)
class ContextParts:
    """Tokens by what they are; before the first question, those that it will bring with it."""

    system: int
    tools: int
    said: int
    results: int
    length: int

    @property
    def used(self) -> int:
        """All that are not free."""
        return self.system + self.tools + self.said + self.results

    @property
    def free(self) -> int:
        """What is left of the context."""
        return max(0, self.length - self.used)


def context_parts(session: "Session") -> ContextParts:
    """Count the parts of the session's conversation, with the tokenizer of its model."""
    conversation, model = session.conversation, session.model
    with_tools, without = _head(session, with_tools=True), _head(session, with_tools=False)
    results = sum(
        len(model.tokenize([Segment(one.content)])) for one in conversation.messages if one.role == "ipython"
    )
    rest = len(conversation.tokens) - with_tools - results
    return ContextParts(without, with_tools - without, max(0, rest), results, model.context_length)


def _head(session: "Session", *, with_tools: bool) -> int:
    """Tokens before the words of a first question."""
    probe = session.agent.conversation()
    if not with_tools:
        probe.tools = ()
    probe.begin_turn(Message(role="user", content=""), session.model)
    return len(probe.tokens)
