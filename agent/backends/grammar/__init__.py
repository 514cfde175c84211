"""Calls and answers that are right by construction.

A grammar made of the tools on offer holds a message to what the parser can read and the tools' schemas allow: prose
is free, and from where a call opens only tokens that go on with a right call are sampled. llguidance does the
matching and the masks.
"""

from functools import cache
from importlib.util import find_spec

from .compiler import Compiled, Grammars
from .guide import Guide

__all__ = ["Compiled", "Grammars", "Guide", "available"]


@cache
def available() -> bool:
    """Whether llguidance is installed; it has no wheels for musl."""
    return find_spec("llguidance") is not None
