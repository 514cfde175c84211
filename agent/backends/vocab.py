"""Text to token ids and back, safe against control tokens in text and against tokens of any length."""

import codecs
import ctypes
import os
import re
import threading
from collections.abc import Sequence
from typing import Any

from arriero.prompts import Segment

from . import llama_lib
from .base import ModelError
from .gguf import EOM, EOT, GGUFInfo

_NAME = re.compile(r"<\|[^|<>]*\|>")


class Vocab:
    """The vocabulary of one model, usable from any thread.

    Tokens keep the order of the file: ids run from 0 to ``size`` - 1.
    """

    def __init__(self, lib: Any, pointer: Any, info: GGUFInfo, *, owned_model: Any = None) -> None:
        self._lib = lib
        self._pointer = pointer
        self._owned_model = owned_model
        self._lock = threading.Lock()
        self._pieces: dict[int, bytes] = {}
        self._stops: dict[int, str | None] = {}
        self._whole: dict[int, str | None] = {}
        self._ids = {token: index for index, token in enumerate(info.tokens) if _NAME.fullmatch(token)}
        self._guarded = frozenset(self._ids.values())
        self.size: int = lib.llama_vocab_n_tokens(pointer)
        self.special_ids = dict(info.special)

    @classmethod
    def from_gguf(cls, path: str | os.PathLike[str]) -> "Vocab":
        """Load only the vocabulary of a GGUF file, with or without weights; ``close`` frees it.

        Raises ModelError.
        """
        info = GGUFInfo.read(path)
        if not info.tokens:
            raise ModelError(f"{info.path}: has no vocabulary")
        lib = llama_lib.load()
        params = lib.llama_model_default_params()
        params.vocab_only = True
        llama_lib.forget_problems()
        model = lib.llama_model_load_from_file(os.fsencode(info.path), params)
        if not model:
            raise ModelError(f"{info.path}: llama.cpp cannot load it: {llama_lib.recent_problems()}")
        return cls(lib, lib.llama_model_get_vocab(model), info, owned_model=model)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text: nothing in it can become a control token; lone surrogates become "?"."""
        ids = self._tokenize(text)
        if self._guarded.isdisjoint(ids):
            return ids
        # Some files list control tokens as ordinary text, and llama.cpp then finds them in any text. A cut
        # inside the marker leaves it no way to.
        return [token for part in _cut_markers(text) for token in self._tokenize(part)]

    def encode_segments(self, segments: Sequence[Segment]) -> list[int]:
        """Token ids of rendered segments, each encoded on its own.

        Raises ModelError if a special segment is no control token of this vocabulary.
        """
        ids: list[int] = []
        for segment in segments:
            if segment.special:
                ids.append(self.special(segment.text))
            else:
                ids += self.encode(segment.text)
        return ids

    def special(self, name: str) -> int:
        """Id of the control token called ``name``; raises ModelError if there is none."""
        try:
            return self._ids[name]
        except KeyError:
            raise ModelError(f"this model's vocabulary has no control token {name!r}") from None

    def is_named(self, token: int) -> bool:
        """Whether the token is a control token, such as ``<|eot_id|>``."""
        return token in self._guarded

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for, of any length; a control token's are its name.

        Raises ModelError for an id outside of the vocabulary.
        """
        piece = self._pieces.get(token)
        if piece is None:
            if not 0 <= token < self.size:
                raise ModelError(f"token id {token} is outside of the vocabulary of {self.size}")
            piece = self._pieces[token] = self._read_piece(token)
        return piece

    def text(self, token: int) -> str:
        """The token by itself as text; bytes that are no whole character become U+FFFD."""
        return self.piece(token).decode("utf-8", "replace")

    def whole(self, token: int) -> str | None:
        """The token as text if it is plain and made of whole characters, else None."""
        try:
            return self._whole[token]
        except KeyError:
            found = self._whole[token] = self._read_whole(token)
            return found

    def stop_kind(self, token: int) -> str | None:
        """``eot``, ``eom`` or ``eos`` for a token that ends a message, else None."""
        if token not in self._stops:
            self._stops[token] = self._read_stop_kind(token)
        return self._stops[token]

    def close(self) -> None:
        """Refuse further use, and free the model if it was loaded for its vocabulary alone."""
        with self._lock:
            self._pointer = None
            model, self._owned_model = self._owned_model, None
            if model:
                self._lib.llama_model_free(model)

    def _open(self) -> "_Guard":
        return _Guard(self)

    def _tokenize(self, text: str) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 1  # no token is shorter than one byte
        buffer = (ctypes.c_int32 * room)()
        with self._open():
            count = self._lib.llama_tokenize(self._pointer, data, len(data), buffer, room, False, False)
        if count < 0:
            raise ModelError(f"llama.cpp cannot tokenise a text of {len(data)} bytes")
        return buffer[:count]

    def _read_whole(self, token: int) -> str | None:
        try:
            return None if self.is_named(token) else self.piece(token).decode()
        except UnicodeDecodeError:
            return None

    def _read_stop_kind(self, token: int) -> str | None:
        if token == self.special_ids.get(EOT):
            return "eot"
        if token == self.special_ids.get(EOM):
            return "eom"
        with self._open():
            return "eos" if self._lib.llama_vocab_is_eog(self._pointer, token) else None

    def _read_piece(self, token: int) -> bytes:
        room = 64
        with self._open():
            while True:
                buffer = ctypes.create_string_buffer(room)
                length = self._lib.llama_token_to_piece(self._pointer, token, buffer, room, 0, True)
                if length >= 0:
                    return buffer.raw[:length]
                room = -length


class _Guard:
    """Holds a vocabulary's lock, so that it cannot be freed during a call."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab

    def __enter__(self) -> None:
        self._vocab._lock.acquire()
        if self._vocab._pointer is None:
            self._vocab._lock.release()
            raise ModelError("the model is closed")

    def __exit__(self, *_error: object) -> None:
        self._vocab._lock.release()


def _cut_markers(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=<)(?=\|)", text) if part]


class TextDecoder:
    """Turns tokens into text, one by one, across UTF-8 borders.

    The texts joined are the decoding of the bytes joined: a character is held back until it is whole, and
    bytes that are no UTF-8 become U+FFFD, none lost.
    """

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = False

    def feed(self, token: int, *, last: bool = False) -> str:
        """What ``token`` adds; ``last`` also gives out what was held back."""
        if not self._held and (text := self._vocab.whole(token)) is not None:
            return text
        piece = self._vocab.piece(token)
        if self._vocab.is_named(token):  # a name is whole, and ends any character before it
            text = self._decoder.decode(b"", final=True) + piece.decode("utf-8", "replace")
        else:
            text = self._decoder.decode(piece, final=last)
        self._held = bool(self._decoder.getstate()[0])
        return text
