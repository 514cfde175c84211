"""The parts that a GGUF header is made of, each read with its bounds checked.

Written against the format's own page, ggml ``docs/gguf.md`` (version 3), and ``ggml.h`` for block sizes.
"""

import math
import struct
from dataclasses import dataclass
from typing import Any

from .base import ModelError

Scalar = int | float | bool | str

MAX_ARRAY = 1 << 24  # elements of one array
MAX_DIMENSIONS = 4
SHORT_ARRAY = 1024  # longer ones are kept as an ArraySummary

_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
INT32 = 5

# ggml.h: type of a stored tensor -> (elements in a block, bytes of a block)
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArraySummary:
    """A metadata array too long to keep: its element type (the format's number) and its length."""

    element: int
    count: int


Value = Scalar | tuple[Scalar, ...] | ArraySummary


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table; ``offset`` in bytes from the start of the data, ``nbytes`` unpadded."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int
    nbytes: int


class ShortBufferError(Exception):
    """The header goes on beyond the bytes read so far."""


class Cursor:
    """Reads little-endian values; a length beyond ``limit``, the file's size, is known to be wrong."""

    def __init__(self, data: bytes, limit: int) -> None:
        self.data = data
        self.limit = limit
        self.at = 0

    def take(self, count: int) -> int:
        """Step over ``count`` bytes and return where they start."""
        start, end = self.at, self.at + count
        if end > self.limit:
            raise ModelError("the file ends inside its header: it is truncated or damaged")
        if end > len(self.data):
            raise ShortBufferError
        self.at = end
        return start

    def unpack(self, form: str) -> Any:
        layout = struct.Struct("<" + form)
        return layout.unpack_from(self.data, self.take(layout.size))[0]

    def string(self, errors: str = "replace") -> str:
        start = self.take(self.unpack("Q"))
        return self.data[start : self.at].decode("utf-8", errors)


def read_value(cursor: Cursor, key: str, long: dict[str, tuple[Scalar, ...]]) -> Value:
    """The metadata value of ``key``; an array whose key is in ``long`` is put there, whole."""
    kind = cursor.unpack("I")
    if kind != ARRAY:
        return _scalar(cursor, kind)
    element, count = cursor.unpack("I"), cursor.unpack("Q")
    if count > MAX_ARRAY:
        raise ModelError(f"claims {count} elements in {key!r}: it is damaged")
    if key in long:
        long[key] = _elements(cursor, element, count)
    elif count <= SHORT_ARRAY:
        return _elements(cursor, element, count)
    else:
        _skip_elements(cursor, element, count)
    return ArraySummary(element, count)


def _scalar(cursor: Cursor, kind: int) -> Scalar:
    if kind == STRING:
        return cursor.string()
    if kind not in _FORMATS:
        raise ModelError(f"has a metadata value of the unknown type {kind}: it is damaged or too new")
    value: Scalar = cursor.unpack(_FORMATS[kind])
    return value


def _elements(cursor: Cursor, element: int, count: int) -> tuple[Scalar, ...]:
    if element == STRING:
        # tokens that differ must stay different, so no replacement here
        return tuple(cursor.string("surrogateescape") for _ in range(count))
    form = _element_format(element)
    start = cursor.take(count * struct.calcsize("<" + form))
    return struct.unpack_from(f"<{count}{form}", cursor.data, start)


def _skip_elements(cursor: Cursor, element: int, count: int) -> None:
    if element != STRING:
        cursor.take(count * struct.calcsize("<" + _element_format(element)))
        return
    for _ in range(count):
        cursor.take(cursor.unpack("Q"))


def _element_format(element: int) -> str:
    if element not in _FORMATS:  # arrays of arrays included: llama.cpp has none
        raise ModelError(f"has a metadata array of the unknown type {element}: it is damaged or too new")
    return _FORMATS[element]


def read_tensor(cursor: Cursor) -> Tensor:
    """One row of the tensor table."""
    name = cursor.string()
    n_dimensions = cursor.unpack("I")
    if not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise ModelError(f"claims {n_dimensions} dimensions for tensor {name!r}: it is damaged")
    shape = tuple(int(cursor.unpack("Q")) for _ in range(n_dimensions))
    kind, offset = cursor.unpack("I"), cursor.unpack("Q")
    if kind not in BLOCKS:
        raise ModelError(f"stores tensor {name!r} in the unknown type {kind}: it is damaged or too new")
    length, nbytes = BLOCKS[kind]
    elements = math.prod(shape)
    if elements == 0 or elements >= 1 << 62 or shape[0] % length:
        raise ModelError(f"claims the shape {shape} for tensor {name!r}: it is damaged")
    return Tensor(name, shape, kind, offset, elements // length * nbytes)
