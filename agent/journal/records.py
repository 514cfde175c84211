"""What a journal tells about sessions and runs."""

from dataclasses import dataclass
from typing import Any

from arriero.agent.events import Usage


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session in a list. ``title`` is how its first question begins; times are seconds since 1970.

    ``weights`` is the fingerprint of the model that wrote it last. ``interrupted`` says that its last run did
    not come to its end: the program was ended in the middle, or a call waits for approval.
    """

    id: str
    name: str | None
    title: str
    model: str
    weights: str | None
    created: float
    updated: float
    runs: int
    interrupted: bool
    forked_from: str | None

    @property
    def shown(self) -> str:
        """The name, else the first characters of the id."""
        return self.name or self.id[:8]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run. ``prompt`` is None where it went on with what another left; ``ended`` and ``stop_reason`` are None
    where it was killed or still goes on. ``template`` is a hash of the wire form, ``answer`` the schema
    that answers were held to.
    """

    id: str
    session: str
    prompt: str | None
    model: str
    weights: str | None
    dialect: str
    template: str
    sampling: dict[str, Any]
    limits: dict[str, Any]
    answer: dict[str, Any] | None
    versions: dict[str, str]
    started: float
    ended: float | None
    stop_reason: str | None
    error: str | None
    usage: Usage


@dataclass(frozen=True, slots=True)
class CallInfo:
    """A call that was about to run, or did. ``state`` is ``intended`` (it began, and nobody knows more),
    ``undecided``, ``finished`` or ``stopped``; ``answer`` is what the model read.
    """

    id: str
    name: str
    effect: str
    state: str
    arguments: dict[str, Any]
    answer: str | None
    ok: bool | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Generation:
    """What one call of the model brought: token ids, their texts, and the stop token's name.

    ``prompt_tokens`` is how long the transcript was before it; ``seed`` is its own, all else about the sampling is
    the run's.
    """

    number: int
    prompt_tokens: int
    seed: int | None
    max_tokens: int | None
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    stop: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A message that a search found; ``excerpt`` has the words between ``[`` and ``]``."""

    session: SessionInfo
    number: int
    role: str
    excerpt: str
