"""Prompts as token ids, and what a server sends as tokens: with a vocabulary here, there, or nowhere."""

import re
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

import anyio

from arriero.prompts import Segment

from ..base import ModelError, Token
from ..gguf import SPECIAL_NAMES
from ..vocab import TextDecoder, Vocab
from .server import STOP_NAMES, Piece, Server

T = TypeVar("T")

REMEMBERED = 4096  # texts whose ids are kept
_SHORT = 2000  # characters; longer texts hardly ever come twice
_MARKER = re.compile(r"<\|[^|<>]*\|>")
_CUT = re.compile(r"(?<=<)(?=\|)")
_PIECE = re.compile(r".{1,4}", re.DOTALL)
_ZERO_WIDTH = "\u200b"
_EOT = "<|eot_id|>"


class Reader(Protocol):
    """Makes tokens of the pieces of one answer."""

    async def feed(self, piece: Piece) -> list[Token]: ...


class Tokens(Protocol):
    """Encodes prompts for a server and reads what it writes."""

    stop_ids: tuple[int, ...]

    def encode(self, segments: Sequence[Segment]) -> list[int]: ...

    def prompt(self, ids: Sequence[int]) -> Sequence[int] | str: ...

    def reader(self) -> Reader: ...

    def end(self) -> Token:
        """The token that ends a message whose server does not tell which one did."""
        ...

    def close(self) -> None: ...


class LocalTokens:
    """With the model's vocabulary in a GGUF file here: exact, and without any request."""

    def __init__(self, vocab: Vocab, server: Server) -> None:
        self._vocab = vocab
        self._whole = server.whole_characters
        self.stop_ids = tuple(vocab.special_ids[name] for name in STOP_NAMES if name in vocab.special_ids)

    def encode(self, segments: Sequence[Segment]) -> list[int]:
        return self._vocab.encode_segments(segments)

    def prompt(self, ids: Sequence[int]) -> Sequence[int]:
        return ids

    def reader(self) -> "_LocalReader":
        return _LocalReader(self._vocab, self._whole)

    def end(self) -> Token:
        return Token(self._vocab.special(_EOT), _EOT, "eot")

    def close(self) -> None:
        self._vocab.close()


class _LocalReader:
    def __init__(self, vocab: Vocab, whole: bool) -> None:
        self._vocab = vocab
        self._whole = whole
        self._decoder = TextDecoder(vocab)

    async def feed(self, piece: Piece) -> list[Token]:
        ids = piece.ids
        if self._whole and len(ids) == 1 and not piece.text.isascii():
            ids = _with_dropped(ids, self._vocab.encode(piece.text))
        return [self._token(token, piece, place - len(ids)) for place, token in enumerate(ids)]

    def _token(self, token: int, piece: Piece, from_end: int) -> Token:
        stop = self._vocab.stop_kind(token)
        return _with_logprob(
            Token(token, self._decoder.feed(token, last=stop is not None), stop), piece, from_end
        )


class RemoteTokens:
    """With the server's own tokenizer: a short request for each new text, which blocks meanwhile.

    No text becomes a control token: what looks like a marker is sent in pieces, and if ids of control tokens come
    of plain text all the same, ModelError is raised.
    """

    def __init__(self, server: Server, special: dict[str, int]) -> None:
        self._server = server
        self._special = special
        self._ids = frozenset(special.values())
        self._names = {token: name for name, token in special.items()}
        self._known: OrderedDict[str, list[int]] = OrderedDict()
        self._lock = threading.Lock()
        self.stop_ids = tuple(special[name] for name in STOP_NAMES if name in special)

    @classmethod
    async def of(cls, server: Server) -> "RemoteTokens":
        """Ask the server for the control tokens. Raises ModelError where it lacks one."""
        return cls(server, await server.special_ids(SPECIAL_NAMES))

    def encode(self, segments: Sequence[Segment]) -> list[int]:
        texts = [segment.text for segment in segments if not segment.special]
        found = self._recall(texts)
        if missing := [text for text in dict.fromkeys(texts) if text not in found]:
            found |= blocking(lambda: self._asked(missing))
        ids: list[int] = []
        for segment in segments:
            ids += [self._control(segment.text)] if segment.special else found[segment.text]
        return ids

    def prompt(self, ids: Sequence[int]) -> Sequence[int]:
        return ids

    def reader(self) -> "_RemoteReader":
        return _RemoteReader(self, self._server.whole_characters)

    def end(self) -> Token:
        return Token(self._special[_EOT], _EOT, "eot")

    def close(self) -> None:
        self._known.clear()

    def name(self, token: int | None) -> str | None:
        """The name of a control token."""
        return None if token is None else self._names.get(token)

    async def of_text(self, text: str) -> list[int]:
        """Ids of a text that the model wrote."""
        found = self._recall([text])
        return found[text] if text in found else (await self._asked([text]))[text]

    def _control(self, name: str) -> int:
        try:
            return self._special[name]
        except KeyError:
            raise ModelError(f"this model's vocabulary has no control token {name!r}") from None

    def _recall(self, texts: Sequence[str]) -> dict[str, list[int]]:
        with self._lock:
            found = {text: self._known[text] for text in texts if text in self._known}
            for text in found:
                self._known.move_to_end(text)
        return found | {text: [] for text in texts if not text}

    async def _asked(self, texts: Sequence[str]) -> dict[str, list[int]]:
        found = {text: await self._safe(text) for text in texts}
        with self._lock:
            self._known |= {text: ids for text, ids in found.items() if len(text) <= _SHORT}
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found

    async def _safe(self, text: str) -> list[int]:
        sendable = text.encode("utf-8", "replace").decode()
        if not _MARKER.search(sendable):
            ids = await self._server.encode([sendable])
            if self._ids.isdisjoint(ids):
                return ids
        # The server might know more control tokens than we do, and read them out of text.
        ids = await self._server.encode([part for part in _CUT.split(sendable) if part])
        if self._ids.isdisjoint(ids):
            return ids
        raise ModelError(
            f"{self._server.wire.host} makes control tokens of plain text; give a vocabulary file"
        )


class _RemoteReader:
    def __init__(self, tokens: RemoteTokens, whole: bool) -> None:
        self._tokens = tokens
        self._whole = whole

    async def feed(self, piece: Piece) -> list[Token]:
        ids = piece.ids
        if self._whole and len(ids) == 1 and not piece.text.isascii():
            ids = _with_dropped(ids, await self._tokens.of_text(piece.text))
        texts = self._texts(ids, piece.text)
        return [
            _with_logprob(Token(token, text, self._stop(token)), piece, place - len(ids))
            for place, (token, text) in enumerate(zip(ids, texts, strict=True))
        ]

    def _texts(self, ids: Sequence[int], text: str) -> list[str]:
        """The text of all of them, dealt out: control tokens have their names, the last of a run the rest."""
        dealt: list[str] = []
        for token, following in pairwise((*ids, None)):
            name, next_name = self._tokens.name(token), self._tokens.name(following)
            if name is not None:
                dealt.append(name)
                text = text.removeprefix(name)
            elif following is not None and next_name is None:
                dealt.append("")
            else:
                before, border, after = text.partition(next_name) if next_name else (text, "", "")
                dealt.append(before)
                text = border + after
        return dealt

    def _stop(self, token: int) -> str | None:
        return STOP_NAMES.get(self._tokens.name(token) or "")


class TextTokens:
    """Without any vocabulary: ids of our own stand for pieces of text, four characters each, so that counts are
    estimates.

    In plain text, ``<|`` is broken up with a character of no width, since the server would read control tokens
    out of it.
    """

    _first_control = 0
    _first_text = 1024

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._controls: list[str] = []
        self._texts: list[str] = []
        self._ids: dict[tuple[bool, str], int] = {}
        self.stop_ids: tuple[int, ...] = ()

    def encode(self, segments: Sequence[Segment]) -> list[int]:
        ids: list[int] = []
        for segment in segments:
            if segment.special:
                ids.append(self._id(segment.text, control=True))
            else:
                ids += self.of_text(segment.text)
        return ids

    def prompt(self, ids: Sequence[int]) -> str:
        """The text; Ollama puts the first token, ``<|begin_of_text|>``, there itself."""
        parts: list[str] = []
        plain: list[str] = []
        for token in ids:
            if token >= self._first_text:
                plain.append(self._texts[token - self._first_text])
                continue
            parts += [_defused("".join(plain)), self._controls[token - self._first_control]]
            plain.clear()
        parts.append(_defused("".join(plain)))
        return "".join(parts).removeprefix("<|begin_of_text|>")

    def of_text(self, text: str) -> list[int]:
        """Our ids of a text."""
        sendable = text.encode("utf-8", "replace").decode()
        return [self._id(piece, control=False) for piece in _PIECE.findall(sendable)]

    def reader(self) -> "_TextReader":
        return _TextReader(self)

    def end(self) -> Token:
        return Token(self._id(_EOT, control=True), _EOT, "eot")

    def close(self) -> None:
        """Nothing to free."""

    def _id(self, text: str, *, control: bool) -> int:
        with self._lock:
            found = self._ids.get((control, text))
            if found is None:
                table, first = (
                    (self._controls, self._first_control) if control else (self._texts, self._first_text)
                )
                found = self._ids[control, text] = first + len(table)
                table.append(text)
        return found


class _TextReader:
    def __init__(self, tokens: TextTokens) -> None:
        self._tokens = tokens

    async def feed(self, piece: Piece) -> list[Token]:
        ids = self._tokens.of_text(piece.text)
        return [Token(token, text) for token, text in zip(ids, _PIECE.findall(piece.text), strict=True)]


def blocking(work: Callable[[], Awaitable[T]]) -> T:
    """The result of a coroutine for code that is not asynchronous, whether or not a loop runs in this thread."""
    result: list[T] = []
    fault: list[BaseException] = []

    async def run() -> None:
        result.append(await work())

    def body() -> None:
        try:
            anyio.run(run)
        except BaseException as error:
            fault.append(error)

    thread = threading.Thread(target=body, name="arriero-http", daemon=True)
    thread.start()
    thread.join()
    if fault:
        raise fault[0]
    return result[0]


def _with_dropped(ids: tuple[int, ...], canonical: Sequence[int]) -> tuple[int, ...]:
    """The ids of a character whose server told the last one only."""
    return tuple(canonical) if len(canonical) > 1 and canonical[-1] == ids[-1] else ids


def _with_logprob(token: Token, piece: Piece, from_end: int) -> Token:
    if len(piece.logprobs) < -from_end:
        return token
    found = piece.logprobs[from_end]
    return Token(token.id, token.text, token.stop, found.logprob, found.top)


def _defused(text: str) -> str:
    return text.replace("<|", f"<{_ZERO_WIDTH}|")
