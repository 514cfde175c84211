"""Text as Prompt Guard reads it: spaces put right, and overlapping windows of tokens of which none is lost."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from ..base import ScreenError

WINDOW: Final = 512
"""Tokens that Prompt Guard was trained to read at once, the two that frame every text included (model card)."""

OVERLAP: Final = 256
"""Tokens that two windows share: an attack of up to so many lies whole inside one of them."""


@dataclass(frozen=True, slots=True)
class Window:
    """A run of tokens as the classifier is given it, and the characters of the text that it covers."""

    ids: tuple[int, ...]
    start: int
    end: int


class GuardTokenizer:
    """The tokenizer of a model folder, ``tokenizer.json``.

    Names of control tokens in a text, such as ``[SEP]``, are read as plain text: nothing that is judged can cut
    itself in two. Raises ScreenError if the file cannot be read or the package ``tokenizers`` is missing.
    """

    def __init__(self, file: Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ScreenError(
                "Prompt Guard needs the package tokenizers: pip install 'arriero[guard]'"
            ) from error
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing narrower
            raise ScreenError(f"{file}: this is not a tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        added = self._tokenizer.get_added_tokens_decoder().values()
        names = [token.content for token in added if token.special and token.content]
        halves = [f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in names]
        self._names = re.compile("|".join(halves) or r"(?!)")
        self.before, self.after = self._frame()

    def _frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The control tokens before and after every text."""
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        framed = self._tokenizer.encode("a").ids
        for start in range(len(framed) - len(bare) + 1):
            if framed[start : start + len(bare)] == bare:
                return tuple(framed[:start]), tuple(framed[start + len(bare) :])
        raise ScreenError("the tokenizer changes a text where it should frame it; get the model's own file")

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids without the frame, and the characters that each covers."""
        # Also the vocabulary itself holds those names, so no option of the library keeps them from being found.
        cuts = [0, *(match.end() for match in self._names.finditer(text)), len(text)] if text else []
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for start, end in pairwise(cuts):
            encoding = self._tokenizer.encode(text[start:end], add_special_tokens=False)
            ids += encoding.ids
            offsets += [(start + first, start + last) for first, last in encoding.offsets]
        return ids, offsets

    def windows(self, text: str, *, size: int = WINDOW, overlap: int = OVERLAP) -> list[Window]:
        """The text in windows of at most ``size`` tokens with their frame; an empty text is one window."""
        ids, offsets = self.encode(text)
        room = size - len(self.before) - len(self.after)
        return [
            Window(
                (*self.before, *ids[start:end], *self.after),
                offsets[start][0] if end > start else 0,
                max((offset for _, offset in offsets[start:end]), default=0),
            )
            for start, end in window_bounds(len(ids), room, overlap)
        ]

    def respaced(self, text: str) -> str:
        """The text with spaces only where words are: ``i g n o r e`` becomes ``ignore``.

        As in llama-cookbook and LlamaFirewall: the text without any space is cut into tokens, and a token gets a
        space before it if there was one before its first character.
        """
        kept = [index for index, character in enumerate(text) if not character.isspace()]
        dense = "".join(text[index] for index in kept)
        starts = sorted({0, *(start for start, _ in self.encode(dense)[1])})
        pieces: list[str] = []
        for start, end in zip(starts, [*starts[1:], len(dense)], strict=True):
            if start < len(dense) and kept[start] > 0 and text[kept[start] - 1].isspace():
                pieces.append(" ")
            pieces.append(dense[start:end])
        return "".join(pieces)


def window_bounds(count: int, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Bounds of windows over ``count`` tokens: each starts ``size - overlap`` after the last, none is lost.

    Raises ValueError unless 0 <= overlap < size.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"windows of {size} tokens cannot share {overlap}")
    start = 0
    while start + size < count:
        yield start, start + size
        start += size - overlap
    yield start, count


def batches(windows: Sequence[Window], size: int) -> Iterator[list[int]]:
    """Indices of the windows in batches, those of like length together, so that little is padded."""
    order = sorted(range(len(windows)), key=lambda index: -len(windows[index].ids))
    for start in range(0, len(order), size):
        yield order[start : start + size]
