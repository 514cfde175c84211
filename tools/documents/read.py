"""What a file says, in passages that know the line or page they stand on."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from arriero.tools._html import read_html
from arriero.tools._page_text import decode, meta_charset
from arriero.tools._pdf import PdfText

PASSAGE = 1000
"""Length of a passage in characters; one line that is longer is cut into several."""

_HTML: Final = (b".html", b".htm", b".xhtml")
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Part:
    """A passage: its text, and for each line of it the number of that line in the file, or of its page."""

    text: str
    places: tuple[int, ...]


def is_pdf(path: bytes) -> bool:
    """Whether the places of a file are pages, not lines."""
    return path.lower().endswith(b".pdf")


def read_file(path: bytes, max_bytes: int) -> bytes:
    """Read the start of a plain file, at most so many bytes. Raises OSError, also for a link or a device."""
    # Between listing and opening, the name may have become a link or a pipe that never ends.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("not a plain file")
        return file.read(max_bytes)


def is_binary(body: bytes) -> bool:
    """Whether it is no text: a zero byte near the start, as in git, unless it is UTF-16."""
    return b"\0" in body[:8192] and not body.startswith(_UTF16)


def parts(path: bytes, body: bytes) -> Iterator[Part]:
    """Cut a document into passages. Raises PdfError for a PDF that cannot be read."""
    if is_pdf(path):
        for page, text in enumerate(PdfText(BytesIO(body)).pages(), 1):
            yield from _passages((page, line) for line in text.split("\n"))
    elif path.lower().endswith(_HTML):
        blocks = read_html(decode(body, meta_charset(body))).blocks
        yield from _passages((block.line, line) for block in blocks for line in block.text.split("\n"))
    else:
        yield from _passages(enumerate(decode(body).split("\n"), 1))


def _passages(lines: Iterable[tuple[int, str]]) -> Iterator[Part]:
    """Collect lines into passages; one ends when it is full, and before a heading or after an empty line early."""
    texts: list[str] = []
    places: list[int] = []
    length = 0
    for place, whole in lines:
        for line in _pieces(whole.rstrip()):
            early = length > PASSAGE // 2 and (not line or line.startswith("#"))
            if texts and (early or length + len(line) > PASSAGE):
                yield from _part(texts, places)
                texts, places, length = [], [], 0
            texts.append(line)
            places.append(place)
            length += len(line) + 1
    yield from _part(texts, places)


def _part(texts: list[str], places: list[int]) -> Iterator[Part]:
    text = "\n".join(texts)
    if text.strip():
        yield Part(text.replace("\0", " "), tuple(places))


def _pieces(line: str) -> Iterator[str]:
    if len(line) <= PASSAGE:
        yield line
        return
    for start in range(0, len(line), PASSAGE):
        yield line[start : start + PASSAGE]
