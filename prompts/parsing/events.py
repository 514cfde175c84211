"""What the call parser reports, in the order in which it is found.

These are made for every token; frozen, they would cost twice as much to make.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class CallSyntax(StrEnum):
    """The wire form in which a call was written."""

    BUILTIN = "builtin"
    CODE = "code"
    JSON = "json"
    FUNCTION_TAG = "function_tag"
    PYTHONIC = "pythonic"


@dataclass(slots=True)
class TextDelta:
    """Text that is no part of a call."""

    text: str


@dataclass(slots=True)
class CallOpened:
    """A call has begun; a ``CallDone`` or a ``Malformed`` follows. ``name`` is None while it is not yet known."""

    index: int
    syntax: CallSyntax
    name: str | None


@dataclass(slots=True)
class ArgumentsDelta:
    """A piece of the raw text in which the arguments of call ``index`` are written."""

    index: int
    text: str


@dataclass(slots=True)
class CallDone:
    """A complete call; ``raw`` is its text on the wire, ``arguments`` are coerced by the tool's schema."""

    index: int
    name: str
    arguments: dict[str, Any]
    syntax: CallSyntax
    raw: str


@dataclass(slots=True)
class Malformed:
    """Text that was meant as a call and cannot be run as one; ``reason`` is fit to be told to the model."""

    raw: str
    reason: str


ParseEvent = TextDelta | CallOpened | ArgumentsDelta | CallDone | Malformed
