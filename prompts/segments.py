"""Rendered prompt text that remembers where it came from."""

from typing import NamedTuple


class Segment(NamedTuple):
    """A run of prompt text that is tokenised on its own.

    ``special`` text was written by a template and is exactly one control token; all other text is encoded
    with special parsing off, so that nothing in it can become a control token.
    """

    text: str
    special: bool = False
