"""Trying the screens of a policy before anything depends on them."""

from dataclasses import dataclass
from typing import Any, cast

from .base import PLACES, Place
from .pipeline import Pipeline
from .policy import Policy


@dataclass(frozen=True, slots=True)
class Tried:
    """How a screen did at one place.

    ``ok`` says that it can be relied on there, ``proved`` that canaries have shown so.
    """

    screen: str
    place: Place
    ok: bool
    line: str
    proved: bool = False


async def try_screens(policy: Policy) -> list[Tried]:
    """Make every screen of a policy and let those that have canaries judge them; never raises but when cancelled.

    Screens of one's own have none: they are only made.
    """
    pipeline = Pipeline(policy)
    try:
        return [
            await _try(pipeline, name, place) for place in PLACES for name in pipeline.policy.rules(place)
        ]
    finally:
        await pipeline.aclose()


async def _try(pipeline: Pipeline, name: str, place: Place) -> Tried:
    where = f"{name} at {place}"
    try:
        screen = await pipeline.screen(name)
        prepare = getattr(screen, "prepare", None)
        if prepare is None:
            return Tried(name, place, True, f"{where}: there")
        proof = cast(Any, await prepare(place))
    except Exception as error:  # a screen may raise anything, and that is what is to be told
        return Tried(name, place, False, f"{where}: {error}")
    return Tried(name, place, proof.holds, proof.line, proved=proof.holds)
