"""Files that come with a question: ``@path`` in its text, or ``-f path`` on the command line."""

import mimetypes
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from arriero.agent.files import fenced
from arriero.prompts import ArrieroError

_REFERENCE: Final = re.compile(r'(?<!\S)@(?:"([^"\n]+)"|(\S+))')
_LIKE_A_FILE: Final = re.compile(r"^(?:~|\.\.?)?/\w|\.\w{1,5}$")
_CLOSING: Final = ".,;:!?)]}'"
_MUCH: Final = 0.25  # of the context
_MOST_TOKENS: Final = 4  # of one character: no text has to be counted that cannot take so much
_MOST: Final = 64 * 1024 * 1024  # bytes; no context and no work folder takes more


class AttachmentError(ArrieroError):
    """A file cannot come with a question."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file with its name in the work folder of Python; ``text`` is None where it holds none."""

    path: Path
    name: str
    data: bytes
    text: str | None

    @property
    def is_image(self) -> bool:
        """Whether the name is that of a picture."""
        return (mimetypes.guess_type(self.name)[0] or "").startswith("image/")


def named_in(question: str) -> list[Path]:
    """The files that ``@path`` or ``@"path with spaces"`` in a question name; other words with @ are only words."""
    found: list[Path] = []
    for match in _REFERENCE.finditer(question):
        for word in (match[1] or match[2], (match[2] or "").rstrip(_CLOSING)):
            path = _file(word)
            if path is not None:
                found.append(path)
                break
    return list(dict.fromkeys(found))


def mistaken_in(question: str) -> list[str]:
    """Words behind an @ that look like a file's path, where there is no such file."""
    words = [match[1] or match[2].rstrip(_CLOSING) for match in _REFERENCE.finditer(question)]
    return [word for word in dict.fromkeys(words) if _LIKE_A_FILE.search(word) and _file(word) is None]


def _file(word: str) -> Path | None:
    try:
        path = Path(word).expanduser()
        return path if word and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long a name, a zero byte, no such home
        return None


def read(paths: Iterable[Path]) -> list[Attachment]:
    """The files, each under a name of its own. Raises AttachmentError for one that cannot be read or is too large."""
    attachments: list[Attachment] = []
    for path in paths:
        taken = {attachment.name for attachment in attachments}
        attachments.append(_one(path, _free_name(path.name, taken)))
    return attachments


def _one(path: Path, name: str) -> Attachment:
    try:
        if not path.is_file():
            raise AttachmentError(f"{path} is no file" if path.exists() else f"there is no file {path}")
        if path.stat().st_size > _MOST:
            raise AttachmentError(f"{path} has more than {_MOST // 2**20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise AttachmentError(f"{path} cannot be read: {error.strerror}") from error
    return Attachment(path, name, data, _text_of(data))


def _free_name(name: str, taken: set[str]) -> str:
    stem, suffix = Path(name).stem, Path(name).suffix
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{suffix}"
    return name


def _text_of(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def with_attachments(question: str, attachments: Iterable[Attachment], *, python: bool) -> str:
    """The question with its files before it: text in full, others by name where Python can open them.

    Raises AttachmentError for a picture, which no model here can see, and for other files without text where
    there is no Python to open them.
    """
    parts = []
    for attachment in attachments:
        if attachment.text is not None:
            parts.append(f"File {attachment.name}:\n{fenced(attachment.text)}")
        elif python:
            kind = "picture, which cannot be shown to you" if attachment.is_image else "file that is no text"
            size = len(attachment.data)
            parts.append(f"{attachment.name} is a {kind}, {size} bytes, in Python's working folder.")
        elif attachment.is_image:
            raise AttachmentError(f"{attachment.path} is a picture, and this model reads text only")
        else:
            raise AttachmentError(
                f"{attachment.path} is no text; with the Python tool on, code could open it"
            )
    return "\n\n".join([*parts, question]) if parts else question


class Echo(NamedTuple):
    """What is said of one text: how many tokens it takes; ``much`` where that is over a quarter of the context."""

    line: str
    much: bool = False


def echo(attachments: Iterable[Attachment], count: Callable[[str], int], context: int) -> list[Echo]:
    """One line for each file."""
    lines = []
    for attachment in attachments:
        if attachment.text is None:
            lines.append(Echo(f"attached {attachment.name}: {len(attachment.data):,} bytes, for Python only"))
        else:
            lines.append(_weighed(f"attached {attachment.name}", count(attachment.text), context))
    return lines


def weigh(question: str, count: Callable[[str], int], context: int) -> Echo | None:
    """What is said of a question itself where it takes much; None where it does not."""
    if len(question) * _MOST_TOKENS <= context * _MUCH:
        return None
    told = _weighed("the question", count(question), context)
    return told if told.much else None


def _weighed(what: str, tokens: int, context: int) -> Echo:
    much = tokens > context * _MUCH
    return Echo(
        f"{what}: {tokens:,} tokens{f', {tokens / context:.0%} of the context' if much else ''}", much
    )
