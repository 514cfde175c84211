"""Text of PDF files, page by page, through pypdf."""

import logging
from collections.abc import Iterator
from io import BytesIO
from typing import IO, TYPE_CHECKING, Final

from .base import ToolError

if TYPE_CHECKING:
    import pypdf

INSTALL_HELP: Final = "reading PDF needs the pypdf package: pip install 'arriero[pdf]'"

MAX_PAGES = 500
"""Pages read of one file."""


class PdfError(ToolError):
    """A PDF file cannot be read; the message says whether it is the file or a missing package."""


class PdfText:
    """An open PDF file. Raises PdfError when the stream is none, is locked, or pypdf is not installed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._reader = _open(stream)

    @property
    def title(self) -> str:
        """The title in the file's metadata; empty when there is none."""
        try:
            found = self._reader.metadata
            return "" if found is None else _storable(str(found.title or ""))
        except Exception:  # as below
            return ""

    def pages(self, *, max_pages: int = MAX_PAGES) -> Iterator[str]:
        """The text of each page in turn; a page that is broken is taken for an empty one."""
        try:
            count = len(self._reader.pages)
        except Exception as error:  # as below
            raise PdfError(f"the PDF is broken ({type(error).__name__})") from None
        for number in range(min(count, max_pages)):
            try:
                yield _storable(self._reader.pages[number].extract_text())
            except (
                Exception
            ):  # from a broken file pypdf raises whatever Python meets, not its own errors alone
                yield ""


def read_pdf(body: bytes, *, max_chars: int) -> tuple[str, str]:
    """Title and text of a whole file, each page under its number, read until there are ``max_chars``."""
    document = PdfText(BytesIO(body))
    texts: list[str] = []
    read = 0
    for number, text in enumerate(document.pages(), 1):
        if text.strip():
            texts.append(f"[page {number}]\n{text.strip()}")
            read += len(text)
        if read > max_chars:
            break
    return document.title, "\n\n".join(texts)


def _storable(text: str) -> str:
    """A file's tables of characters may name half a surrogate pair, which no UTF-8 text can hold."""
    return text.encode("utf-8", "replace").decode()


def _open(stream: IO[bytes]) -> "pypdf.PdfReader":
    try:
        import pypdf
    except ImportError:
        raise PdfError(INSTALL_HELP) from None
    log = logging.getLogger("pypdf")
    if not log.handlers:
        # Else Python writes its complaints about a broken file to the user's terminal.
        log.addHandler(logging.NullHandler())
    try:
        reader = pypdf.PdfReader(stream)
        if reader.is_encrypted and not reader.decrypt(""):
            raise PdfError("the PDF is locked with a password")
    except PdfError:
        raise
    except Exception as error:  # as above
        raise PdfError(f"the PDF is broken ({type(error).__name__})") from None
    return reader
