"""Links and images whose address carries data to whoever owns the address."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit

from .keys import keys

ENDS_ADDRESS: Final = "。，、；：！？（）「」『』【】《》“”"
"""Punctuation of scripts without spaces, which stands in no address."""

_ADDRESS: Final = re.compile(
    rf"(?:(?:https?|wss?|ftp):)?//[^\s<>\"'`\])}}|\\{ENDS_ADDRESS}]{{4,}}", re.IGNORECASE
)
_LOADED: Final = re.compile(
    r"(?:!\[[^\]]*\]\(\s*<?"  # ![…](address
    r"|^ {0,3}\[[^\]\n]+\]:\s*<?"  # [name]: address, which an image may refer to
    r"|<(?:img|iframe|embed|object|script|link|video|audio|source|input|body|table|image)\b[^>]*=\s*[\"']?"
    r"|\burl\(\s*[\"']?)\Z",
    re.IGNORECASE | re.MULTILINE,
)
_LOOK_BACK: Final = 400  # characters before an address that say whether it is loaded unasked
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}\Z")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){12,}\Z")
_OPAQUE: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/_=-]{40,}\Z")
_MAIL: Final = re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}")
_WORDS: Final = 4  # words in one value of an image's address that make it a message
_SHORTEST: Final = 12  # characters of readable text that a value decodes to


def links_with_data(
    text: str, start: int = 0, *, known: Callable[[str], bool] = lambda address: False
) -> list[tuple[int, int]]:
    """Where addresses with data are, from ``start`` on.

    Every address counts whose values hold a key, or text in base64 or hexadecimal digits; one that is loaded unasked
    (an image, a frame, a style) also with an e-mail address, a sentence or a long opaque value in its query.
    ``known(address)`` says that an address was there before as it stands: then nothing was put into it.
    """
    if "//" not in text:
        return []
    found = []
    for match in _ADDRESS.finditer(text, start):
        address = match.group().rstrip(".,;:!?*_")
        carried = _carried(address)
        if carried == "seen":
            before = max(0, match.start() - _LOOK_BACK)
            carried = "" if _LOADED.search(text, before, match.start()) is None else carried
        if carried and not known(address):
            found.append((match.start(), match.start() + len(address)))
    return found


def _carried(address: str) -> Literal["", "seen", "hidden"]:
    """What an address carries: data that is hidden in it, or (in its query) some that anybody can see."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    queried = [unquote_plus(value) for _, value in parse_qsl(parts.query)] or [unquote_plus(parts.query)]
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    labels = (parts.hostname or "").split(".")[:-2]
    others = [*map(unquote, parts.path.split("/")), unquote(parts.fragment), *names, *labels]
    values = [value for value in (*queried, *others) if len(value) >= _SHORTEST]
    if any(keys(value) or _decodes_to_text(value) for value in values):
        return "hidden"
    seen = any(
        _MAIL.search(value) or len(value.split()) >= _WORDS or _OPAQUE.match(value) for value in queried
    )
    return "seen" if seen else ""


def _decodes_to_text(value: str) -> bool:
    for decoded in _decoded(value):
        try:
            text = decoded.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if len(text) >= _SHORTEST and text.replace("\n", " ").replace("\t", " ").isprintable():
            return True
    return False


def _decoded(value: str) -> list[bytes]:
    found = []
    if _HEX.match(value):
        found.append(bytes.fromhex(value))
    if _ENCODED.match(value):
        plain = value.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            found.append(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))
        except binascii.Error:
            return found
    return found
