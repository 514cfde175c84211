"""``arriero replay``: a recorded run, run again before one's eyes."""

import asyncio
import sys
from contextlib import aclosing

import click

from arriero.agent.agent import Agent
from arriero.agent.events import Event
from arriero.agent.journal import Journal
from arriero.agent.journal.replay import VerifyingModel, difference, replay, same_weights

from .display import Display, JsonLines
from .exits import Exit
from .sinks import PlainSink
from .terminal import Terminal, neutral


def replayed(journal: Journal, run: str, model: str | None, *, as_json: bool) -> Exit:
    """Show the run as it goes again, then say whether it went as recorded: never so with other weights.

    Raises JournalError, ModelError.
    """
    info = journal.run(run)
    verifier: VerifyingModel | None = None
    same = True
    if model is not None:
        loaded = Agent.model_of(model)
        same = same_weights(info, loaded)
        verifier = VerifyingModel(loaded, journal.generations(info.id))
    terminal = Terminal.detect(sys.stderr, plain=True)
    display = JsonLines(sys.stdout) if as_json else Display(PlainSink(sys.stdout), terminal)
    again = asyncio.run(_shown(journal, info.id, verifier, display))
    if not same:
        click.echo(neutral(f"{model} has other weights than {info.model}, which made the run"), err=True)
    if verifier is not None and verifier.divergence:
        click.echo(neutral(f"differs at {verifier.divergence}"), err=True)
        return Exit.CHECK
    what = difference([event for _, event in journal.events(info.id)], again)
    if what:
        click.echo(neutral(f"differs: {what}"), err=True)
        return Exit.CHECK
    tokens = f", {verifier.tokens} tokens the same" if verifier else ""
    click.echo(f"as recorded: {len(again)} events{tokens}", err=True)
    return Exit.OK if same else Exit.CHECK


async def _shown(
    journal: Journal, run: str, verifier: VerifyingModel | None, display: Display | JsonLines
) -> list[Event]:
    again: list[Event] = []
    try:
        async with aclosing(replay(journal, run, model=verifier)) as events:
            async for event in events:
                again.append(event)
                display.handle(event)
    finally:
        if verifier is not None:
            await verifier.aclose()
    return again
