"""Texts, tokens and artifacts: what is short stands in the row that has it, the rest is kept once under its hash."""

import json
import sqlite3
import sys
import zlib
from array import array
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from pydantic import TypeAdapter

from arriero.prompts import Message

Content = int | bytes | bytearray
"""A content as a row names it: the number of the row that keeps it, or a short one itself."""

_SHORT: Final = 512  # bytes; below, a row of its own with its hash costs more than keeping it twice
_TOKEN: Final = "I" if array("I").itemsize == 4 else "L"
_MESSAGES: Final = TypeAdapter(tuple[Message, ...])


def put(connection: sqlite3.Connection, data: bytes) -> Content:
    """Keep ``data`` unless it is there already; returns what to put into a row for it."""
    if len(data) < _SHORT:
        # sqlite3 looks for an adapter of each parameter that is no int, float, str or bytearray, and that takes long.
        return bytearray(data)
    digest = blake2b(data, digest_size=16).digest()
    row = connection.execute("SELECT id FROM content WHERE hash=?", (digest,)).fetchone()
    if row:
        return int(row[0])
    packed = zlib.compress(data, 1)
    small = len(packed) < len(data)
    made = connection.execute(
        "INSERT INTO content (hash, packed, data) VALUES (?, ?, ?)",
        (digest, small, packed if small else data),
    )
    return int(made.lastrowid or 0)


def get(connection: sqlite3.Connection, content: Content | None) -> bytes:
    """What was kept; nothing for None."""
    if content is None or isinstance(content, bytes):
        return content or b""
    row = connection.execute("SELECT packed, data FROM content WHERE id=?", (content,)).fetchone()
    return zlib.decompress(row[1]) if row[0] else bytes(row[1])


def message_json(message: Message) -> bytes:
    """A message as JSON; fields that have their default are left out."""
    try:
        return message.__pydantic_serializer__.to_json(message, exclude_defaults=True)
    except ValueError:  # half of a surrogate pair has no UTF-8
        return utf8(json.dumps(message.model_dump(exclude_defaults=True), ensure_ascii=False))


def utf8(text: str) -> bytes:
    """Text as UTF-8, with a mark in the place of what has no such form (lone surrogates)."""
    return text.encode("utf-8", "replace")


def get_messages(connection: sqlite3.Connection, content: Content | None) -> tuple[Message, ...]:
    """The messages of an entry."""
    return () if content is None else _MESSAGES.validate_json(get(connection, content))


def get_tokens(connection: sqlite3.Connection, content: Content | None) -> "array[int]":
    """The token ids of an entry."""
    return unpacked_tokens(get(connection, content))


def packed_tokens(tokens: Iterable[int]) -> bytes:
    """Token ids as 32-bit integers, little-endian."""
    numbers = array(_TOKEN, tokens)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def unpacked_tokens(data: bytes) -> "array[int]":
    """What ``packed_tokens`` packed."""
    numbers = array(_TOKEN)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
