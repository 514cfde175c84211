"""Calls and answers that are right by construction.

A grammar made of the tools on offer holds a message to what the parser can read and the tools' schemas allow: prose
is free, and from where a call opens only tokens that go on with a right call are sampled. llguidance does the
matching and the masks.
"""

from .compiler import Compiled, Grammars
from .guide import Guide

__all__ = ["Compiled", "Grammars", "Guide"]
