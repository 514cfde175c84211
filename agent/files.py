"""Text files as part of what a user says."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from arriero.prompts import ArrieroError

MOST: Final = 64 * 1024 * 1024
"""Bytes of one file; far beyond any context."""

_FENCE = "`"
_IMAGES: Final = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0")


class UnreadableFile(ArrieroError):
    """A file cannot be part of a prompt: it is missing, too large, an image, or no text."""


def with_files(prompt: str | None, files: Sequence[str | os.PathLike[str]]) -> str | None:
    """The prompt with the files before it, each under its name and in a fence that its text cannot close.

    Raises UnreadableFile; for images it says that the model reads text only.
    """
    if not files:
        return prompt
    pieces = [f"{Path(file).name}:\n{fenced(read_text(file))}" for file in files]
    return "\n\n".join([*pieces, *([prompt] if prompt else [])])


def read_text(file: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file. Raises UnreadableFile."""
    path = Path(file)
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST + 1)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MOST:
        raise UnreadableFile(f"{path} has over {MOST // 2**20} MiB; no context can take it")
    if data.startswith(_IMAGES):
        raise UnreadableFile(f"{path} is an image, and the model reads text only; describe it in words")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            f"{path} is not text: byte {error.start} is no UTF-8; convert it first"
        ) from error
    if "\0" in text:
        raise UnreadableFile(f"{path} is not text: it holds zero bytes")
    return text


def fenced(text: str) -> str:
    """Text in a fence of backticks longer than any that it holds."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == _FENCE else 0
        longest = max(longest, run)
    fence = _FENCE * max(3, longest + 1)
    end = "" if text.endswith("\n") else "\n"
    return f"{fence}\n{text}{end}{fence}"
