"""What the kinds of server have in common: a question of ours in their words, and their events in ours."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from arriero.tools._http import HttpResponse, one_line

from ..base import ContextOverflow, ModelError, Sampling, TopToken
from .wire import Wire

ServerKind = Literal["llama-server", "vllm", "ollama"]

STOP_NAMES = {"<|eot_id|>": "eot", "<|eom_id|>": "eom", "<|end_of_text|>": "eos"}


@dataclass(frozen=True, slots=True)
class About:
    """What a server says of the model that it runs; 0 and "" where it does not say."""

    name: str
    context_length: int = 0
    slots: int = 0
    template: str = ""
    build: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt to be continued, as token ids or, for servers that take nothing else, as text.

    ``schema`` is the JSON schema of the whole answer.
    """

    prompt: Sequence[int] | str
    sampling: Sampling
    max_tokens: int | None = None
    slot: int | None = None
    stop_ids: tuple[int, ...] = ()
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Logprob:
    """Of one sampled token, with the likeliest ones at its place."""

    logprob: float
    top: tuple[TopToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event brings: ids of tokens, where the server tells them, and the text of all of them.

    ``end`` is set on the last: ``stop`` or ``length``. ``read`` says how many tokens of the prompt have been read by
    then, where the server tells that.
    """

    ids: tuple[int, ...] = ()
    text: str = ""
    logprobs: tuple[Logprob, ...] = ()
    end: Literal["stop", "length"] | None = None
    read: int | None = None


class Server(ABC):
    """One kind of server. ``token_ids``: it takes and tells ids. ``whole_characters``: it tells only the last
    id of a character that several tokens make up.
    """

    kind: ClassVar[ServerKind]
    path: ClassVar[str]
    token_ids: ClassVar[bool] = True
    whole_characters: ClassVar[bool] = False
    lines: ClassVar[bool] = False
    """Events are lines of JSON instead of server-sent ones."""

    def __init__(self, wire: Wire, model: str = "") -> None:
        self.wire = wire
        self.model = model

    @abstractmethod
    async def about(self) -> About:
        """Ask which model is there. Raises ModelError, also when it is not the one that was asked for."""

    @abstractmethod
    def body(self, ask: Ask) -> dict[str, Any]:
        """The request's JSON."""

    @abstractmethod
    def read(self, event: Mapping[str, Any]) -> Piece | None:
        """What an event brings; None if nothing."""

    async def special_ids(self, names: Sequence[str]) -> dict[str, int]:
        """Ids of control tokens by their names. Raises ModelError where one is missing."""
        raise ModelError(f"{self.wire.host} does not tell token ids")

    async def encode(self, texts: Sequence[str]) -> list[int]:
        """Token ids of plain texts, each encoded on its own; control tokens in them may have been read as such."""
        raise ModelError(f"{self.wire.host} does not tell token ids")


def refused(host: str, response: HttpResponse) -> ModelError:
    """The error for an answer that is not 200, with what the server says of it."""
    kind, said = _reason(response)
    status = response.status
    if "exceed_context" in kind or "context length" in said.lower() or "context size" in said.lower():
        return ContextOverflow(
            f"{host}: {said}; shorten the conversation or give the server a larger context"
        )
    if status in (401, 403):
        return ModelError(f"{host} refuses the request (HTTP {status}{_colon(said)}); give its API key")
    if status == 404:
        return ModelError(f"{host} has no such model or address (HTTP 404{_colon(said)})")
    if status == 429 or status == 503:
        return ModelError(f"{host} is not ready or too busy (HTTP {status}{_colon(said)}); try again later")
    return ModelError(f"{host} did not accept the request (HTTP {status}{_colon(said)})")


def told_error(host: str, event: Mapping[str, Any]) -> ModelError | None:
    """The error that an event of a stream reports, if it does."""
    error = event.get("error")
    if not error:
        return None
    kind, said = _named(error)
    if "exceed_context" in kind or "context length" in said.lower() or "context size" in said.lower():
        return ContextOverflow(
            f"{host}: {said}; shorten the conversation or give the server a larger context"
        )
    return ModelError(f"{host} gave up while generating: {said or 'it does not say why'}")


def number(value: Any) -> int:
    """A count that a server told, 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def token_ids(value: Any, host: str) -> tuple[int, ...]:
    """Token ids that a server told. Raises ModelError for anything else."""
    if isinstance(value, list) and all(type(item) is int and 0 <= item < 2**31 for item in value):
        return tuple(value)
    raise ModelError(f"{host} sent something else where token ids belong")


def finite(value: Any) -> float:
    """A log-probability; what cannot be one, and minus infinity, becomes the lowest float."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return -3.4e38


def _reason(response: HttpResponse) -> tuple[str, str]:
    try:
        value = response.json()
    except ValueError:
        if b"<html" in response.body[:1000].lower():
            return "", "it answers with a web page: is this the address of a model server?"
        return "", one_line(response.body.decode("utf-8", "replace"))
    if isinstance(value, dict):
        return _named(value.get("error") or value)
    return "", ""


def _named(error: Any) -> tuple[str, str]:
    if isinstance(error, dict):
        said = error.get("message") or error.get("detail")
        return one_line(error.get("type")), one_line(said, 300)
    return "", one_line(error, 300)


def _colon(said: str) -> str:
    return f": {said}" if said else ""
