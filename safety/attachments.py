"""What a model that reads text can read of attachments."""

from collections.abc import Sequence
from typing import Final

from .base import Attachment

_TEXT: Final = ("text/", "application/json", "application/xml", "image/svg+xml")


def readable(attachments: Sequence[Attachment]) -> tuple[list[str], str]:
    """The texts among the attachments, and a note that names the others ("" if there are none)."""
    texts = [one.data.decode("utf-8", "replace") for one in attachments if one.mime.startswith(_TEXT)]
    others = [one.name for one in attachments if not one.mime.startswith(_TEXT)]
    return texts, f"not read, being no text: {', '.join(others)}"[:1000] if others else ""
