"""A model that a server runs, with our template, our parser and, wherever the server lets us, our token ids."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import reduce
from operator import add

import anyio

from arriero.prompts import Segment
from arriero.tools._http import HttpError, HttpResponse, Retry

from ..base import Constraint, ContextOverflow, ModelError, Progress, Sampling, Token
from ..dialect import DialectChoice, choose_dialect
from ..vocab import Vocab
from .llama_server import LlamaServer
from .ollama import Ollama
from .server import About, Ask, Piece, Server, ServerKind, refused
from .slots import Slots
from .tokens import LocalTokens, RemoteTokens, TextTokens, Tokens, blocking
from .vllm import Vllm
from .wire import Wire, address, usable_key


class HTTPModel:
    """A Llama 3.x model behind llama-server, llamafile (0.10 on), vLLM or Ollama.

    ``url`` is like ``http://127.0.0.1:8080``; where a server has several models, ``#NAME`` at its end, or
    ``model``, names one. ``kind`` is asked of the server if it is not given. ``vocab`` is a GGUF file with the
    model's vocabulary (the weights may be missing): prompts are then encoded here; without it, by the server,
    with a short blocking request for each new text. ``dialect`` and ``context_length`` (tokens) take the place
    of what the server says; a server that does not say how long its context is needs the latter. ``silence``
    is the longest wait for the next piece of an answer, in seconds; reading a long prompt is part of it.
    ``retry`` says how often a request is begun again, before an answer has started and after a connection broke
    in the middle of one; it then goes on where it was.

    The constructor returns when the server has answered. Raises ModelError.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        kind: ServerKind | None = None,
        api_key: str | None = None,
        vocab: str | os.PathLike[str] | None = None,
        dialect: str | None = None,
        context_length: int | None = None,
        silence: float = 300.0,
        retry: Retry | None = None,
    ) -> None:
        base, named = address(url)
        self.wire = Wire(base, usable_key(api_key), silence, retry or Retry())
        loaded = None if vocab is None else Vocab.from_gguf(vocab)
        try:
            self._server, self._about, self._tokens = blocking(
                lambda: _connect(self.wire, kind, model or named, loaded, context_length)
            )
        except BaseException:
            if loaded:
                loaded.close()
            raise
        if dialect:
            self._dialect = DialectChoice(dialect, "it was named")
        else:
            self._dialect = choose_dialect(self._about.name, self._about.template)
        self._slots = Slots(self._about.slots)
        self._progress: dict[int, Progress] = {}
        self._closed = False

    @property
    def name(self) -> str:
        """What the server calls its model."""
        return self._about.name

    @property
    def kind(self) -> ServerKind:
        """What kind of server it is."""
        return self._server.kind

    @property
    def dialect(self) -> str:
        """The wire form to use by default, chosen by the model's name and template."""
        return self._dialect.name

    @property
    def context_length(self) -> int:
        """Tokens that one conversation may have, as the server says."""
        return self._about.context_length

    @property
    def constrains(self) -> bool:
        """False: servers are not told the form of calls, and a schema of the answer only when there are no tools."""
        return False

    @property
    def token_ids(self) -> bool:
        """Whether prompts are sent as token ids, so that no text can be read as a control token."""
        return self._server.token_ids

    def progress(self) -> Progress | None:
        """How far the server is with all that is generated, from any thread; None where it has not said so.

        llama-server tells how much of a prompt it has read; others are known to have read it once they write.
        """
        told = list(self._progress.values())
        return reduce(add, told) if told else None

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Token ids of rendered segments; text that is not special yields no control token. Raises ModelError."""
        self._check_open()
        return self._tokens.encode(segments)

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        """Sampled continuation of ``tokens``, up to and including a stop token.

        It ends without one after ``max_tokens`` tokens or when the context is full. Closing the iterator closes
        the connection, upon which the server stops. Raises ContextOverflow and ModelError.
        """
        self._check_open()
        if max_tokens is not None and max_tokens < 1:
            return
        self._check_length(tokens)
        written: list[int] = []
        key = id(written)
        slot = self._slots.take(tokens)
        try:
            attempt = 0
            while True:
                left = self._left(len(tokens) + len(written), max_tokens, len(written))
                prompt = self._tokens.prompt([*tokens, *written])
                ask = Ask(prompt, sampling, left, slot, self._tokens.stop_ids, _schema(constraint))
                before = len(written)
                try:
                    async with aclosing(self._continue(ask, len(tokens), key)) as stream:
                        async for token in stream:
                            written.append(token.id)
                            self._progress[key] = Progress(len(tokens), len(tokens), len(written))
                            yield token
                            if token.stop or len(written) == max_tokens:
                                return
                    return
                except HttpError as error:
                    attempt = 0 if len(written) > before else attempt + 1
                    if error.kind != "truncated" or attempt >= self.wire.retry.attempts:
                        raise self._broken(error, len(written)) from None
                    # A stream that broke goes on from the tokens that arrived: they are all that there is.
                    await anyio.sleep(self.wire.retry.wait(attempt, None))
        finally:
            self._progress.pop(key, None)
            self._slots.give_back(slot, [*tokens, *written])

    async def aclose(self) -> None:
        """Refuse further use; it is safe to call twice. The server goes on running."""
        self._closed = True
        self._tokens.close()

    async def _continue(self, ask: Ask, prompt: int, key: int) -> AsyncGenerator[Token, None]:
        """One request: tokens until the server says that the message has ended. Raises HttpError, ModelError."""
        server, reader = self._server, self._tokens.reader()
        async with self.wire.stream(server.path, server.body(ask)) as answer:
            if isinstance(answer, HttpResponse):
                raise refused(self.wire.host, answer)
            pieces = _pieces(server, self.wire.events(answer, lines=server.lines))
            async with aclosing(pieces):
                async for piece in pieces:
                    if piece.read is not None and not self._progress.get(key, _NOTHING).written:
                        self._progress[key] = Progress(min(piece.read, prompt), prompt)
                    for token in await reader.feed(piece):
                        yield token
                        if token.stop:
                            return
                    if piece.end == "stop":
                        yield self._tokens.end()
                    if piece.end:
                        return
        raise HttpError("truncated", f"{self.wire.host} ended its answer before the message was whole")

    def _left(self, length: int, max_tokens: int | None, written: int) -> int | None:
        if not self._server.token_ids:
            return None if max_tokens is None else max_tokens - written
        room = self.context_length - length
        return room if max_tokens is None else min(room, max_tokens - written)

    def _check_length(self, tokens: Sequence[int]) -> None:
        if self._server.token_ids and len(tokens) >= self.context_length:
            raise ContextOverflow(
                f"the prompt has {len(tokens)} tokens and the context holds {self.context_length}; "
                "shorten the conversation or give the server a larger context"
            )

    def _broken(self, error: HttpError, written: int) -> ModelError:
        if not written:
            return self.wire.unreachable(error)
        return ModelError(f"{error}, after {written} tokens; what had arrived is kept")

    def _check_open(self) -> None:
        if self._closed:
            raise ModelError("the model is closed")


_NOTHING = Progress(0, 0)


async def _pieces(server: Server, events: AsyncIterator[object]) -> AsyncGenerator[Piece, None]:
    async for event in events:
        assert isinstance(event, dict)
        if piece := server.read(event):
            yield piece


def _schema(constraint: Constraint | None) -> dict[str, object] | None:
    if constraint is None or constraint.answer is None or constraint.tools or constraint.required:
        return None
    return dict(constraint.answer)


async def _connect(
    wire: Wire, kind: ServerKind | None, model: str, vocab: Vocab | None, context: int | None
) -> tuple[Server, About, Tokens]:
    server = _made(kind or await _kind_of(wire), wire, model, context)
    about = await server.about()
    if context is not None:
        about = replace(about, context_length=context)
    if not about.context_length:
        raise ModelError(f"{wire.host} does not say how long its context is; give context_length")
    if not server.token_ids:
        if vocab:
            vocab.close()
        return server, about, TextTokens()
    return server, about, LocalTokens(vocab, server) if vocab else await RemoteTokens.of(server)


def _made(kind: ServerKind, wire: Wire, model: str, context: int | None) -> Server:
    match kind:
        case "llama-server":
            return LlamaServer(wire, model)
        case "vllm":
            return Vllm(wire, model)
        case "ollama":
            return Ollama(wire, model, context)


async def _kind_of(wire: Wire) -> ServerKind:
    """Ask ``/v1/models``, which all of them answer: they sign their models."""
    listed = await _object(wire, "/v1/models")
    cards = listed.get("data")
    owners = (
        {str(card.get("owned_by")) for card in cards if isinstance(card, dict)}
        if isinstance(cards, list)
        else ()
    )
    if "llamacpp" in owners:
        return "llama-server"
    if "vllm" in owners:
        return "vllm"
    if "library" in owners or "version" in await _object(wire, "/api/version"):
        return "ollama"
    if "default_generation_settings" in await _object(wire, "/props"):
        return "llama-server"
    raise ModelError(
        f"{wire.host} is none of llama-server, llamafile, vLLM and Ollama; or say with kind which it is"
    )


async def _object(wire: Wire, path: str) -> dict[str, object]:
    """The JSON object at a path; empty where there is none. Raises ModelError if the key is refused."""
    answer = await wire.get(path)
    if answer.status in (401, 403):
        raise refused(wire.host, answer)
    try:
        value = answer.json() if answer.status == 200 else None
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
