"""The prompt of a question, written out for people."""

from collections.abc import Sequence

import click

from arriero.agent.agent import DEFAULT_INSTRUCTIONS, Agent
from arriero.agent.backends import FunctionModel
from arriero.agent.backends.dialect import dialect_of
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.store.opening import model_path
from arriero.prompts import Message, Segment

from .exits import Exit
from .runner import Runner
from .session import Session, load_model
from .settings import SCRIPT, Settings
from .terminal import neutral

_NO_QUESTION = "(the question)"


def show_prompt(settings: Settings, question: str, date: str | None) -> Exit:
    """Print what the model would be given. Raises ModelError, NotReady."""
    runner = Runner()
    session = Session(settings, runner)
    try:
        reader = _Reader(_dialect(settings))
        agent = Agent(
            reader,
            instructions=DEFAULT_INSTRUCTIONS if settings.instructions is None else settings.instructions,
            tools=list(session.toolbox.make_all().values()),
            date=date,
            guards=None,
        )
        conversation = agent.conversation()
        conversation.begin_turn(Message(role="user", content=question.strip() or _NO_QUESTION), reader)
        conversation.begin_answer(reader)
        click.echo("".join(map(_written, reader.segments)))
    finally:
        session.close()
        runner.close()
    return Exit.OK


class _Reader(FunctionModel):
    """Takes prompts down as they are rendered, and answers none."""

    def __init__(self, dialect: str) -> None:
        super().__init__(lambda prompt: "", dialect=dialect)
        self.segments: list[Segment] = []

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        self.segments += segments
        return super().tokenize(segments)


def _written(segment: Segment) -> str:
    return segment.text if segment.special else neutral(segment.text).replace("<|", "< |")


def _dialect(settings: Settings) -> str:
    name = settings.model
    if settings.dialect is not None:
        return settings.dialect
    if name.startswith(SCRIPT) or name.partition("#")[0].startswith(("http://", "https://")):
        return load_model(settings).dialect
    return dialect_of(GGUFInfo.read(model_path(name))).name
