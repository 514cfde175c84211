"""Links and images whose address carries data to whoever owns the address."""

import base64
import binascii
import contextlib
import re
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from .keys import keys

ENDS_ADDRESS: Final = "。，、；：！？（）「」『』【】《》“”"
"""Punctuation of scripts without spaces, which stands in no address."""

# Browsers take any slashes, of either kind, for the two.
_ADDRESS: Final = re.compile(
    rf"(?:(?:https?|wss?|ftp):[/\\]+|//)[^\s<>\"'`\])}}|\\{ENDS_ADDRESS}]{{4,}}", re.IGNORECASE
)
_SLASHES: Final = re.compile(r"(\w+:)?[/\\]+")
_DEFINED: Final = re.compile(r"^ {0,3}\[[^\]\n]+\]:\Z", re.MULTILINE)
_NAME: Final = 300  # characters of a name that an image may refer to, and of what is around it
_TAG: Final = re.compile(r"<(?!a[\s/>])[a-z][\w:-]*", re.IGNORECASE)  # all but links, which wait for a click
_IN_TAG: Final = re.compile(r"(?:[^>\"']|\"[^\"]*\"|'[^']*')*(?:\"[^\"]*|'[^']*)?\Z")
_TAGS: Final = 2  # that may be open around an address, one in the other's attribute
LOOK_BACK: Final = 1_000
"""Characters before an address that say whether it is loaded unasked."""

_ENCODED: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}\Z")
_BASE32: Final = re.compile(r"[A-Za-z2-7]{16,}={0,6}\Z")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){12,}\Z")
_OPAQUE: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+/_=-]{40,}\Z")
_MAIL: Final = re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}")
_WORDS: Final = 4  # words in one value of an image's address that make it a message
_SHORTEST: Final = 12  # characters of readable text that a value decodes to


def links_with_data(
    text: str, start: int = 0, *, before: str = "", known: Callable[[str], bool] = lambda address: False
) -> list[tuple[int, int]]:
    """Where addresses with data are, from ``start`` on.

    Every address counts whose values hold a key, or text in base64, base32 or hexadecimal digits; one that is loaded
    unasked (an image, a frame, a style) also with an e-mail address, or a sentence or a long opaque value in a query.
    ``before`` is what comes before the text. ``known(address)`` says that an address was there before as it stands:
    then nothing was put into it.
    """
    if "/" not in text and "\\" not in text:
        return []
    found = []
    for match in _ADDRESS.finditer(text, start):
        address = match.group().rstrip(".,;:!?*_")
        carried = _carried(_SLASHES.sub(r"\1//", address, count=1))
        if carried == "seen":
            left = (before[-LOOK_BACK:] + text[max(0, match.start() - LOOK_BACK) : match.start()])[
                -LOOK_BACK:
            ]
            carried = carried if _is_loaded(left) else ""
        if carried and not known(address):
            found.append((match.start(), match.start() + len(address)))
    return found


def _is_loaded(left: str) -> bool:
    """Whether what is to the left of an address makes a reader's program fetch it without being asked."""
    ends = left.rstrip("<\"' \t\r\n")
    if ends.endswith("]("):
        return _is_image(ends, len(ends) - 2)
    if ends.endswith("]:"):
        return _DEFINED.search(ends[-_NAME:]) is not None
    if ends[-7:].lower().endswith(("url(", "@import")):
        return True
    tags = [tag.end() for tag in _TAG.finditer(left)][-_TAGS:]
    return any(_IN_TAG.match(left, end) for end in tags)


def _is_image(left: str, closing: int) -> bool:
    """Whether the bracket that ``closing`` closes is that of ![…], with whatever brackets inside."""
    depth = 0
    for at in range(closing, -1, -1):
        depth += (left[at] == "]") - (left[at] == "[")
        if depth == 0:
            return at > 0 and left[at - 1] == "!"
    return True  # begun so far back that nobody can tell


def _carried(address: str) -> Literal["", "seen", "hidden"]:
    """What an address carries: data that is hidden in it, or (mostly in its query) some that anybody can see."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    queried = [_decoded_of(value) for _, value in parse_qsl(parts.query)] or [_decoded_of(parts.query)]
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    user, _, host = parts.netloc.rpartition("@")
    labels = host.partition(":")[0].split(".")[:-2]
    others = [*map(_decoded_of, (*parts.path.split("/"), parts.fragment, user)), *names, *labels]
    values = [
        *queried,
        *others,
        "".join(queried),
        "".join(labels),
    ]  # pieces of one value may be spread over several
    if any(keys(value) or _decodes_to_text(value) for value in values if len(value) >= _SHORTEST):
        return "hidden"
    seen = any(len(value.split()) >= _WORDS or _OPAQUE.match(value) for value in queried)
    return "seen" if seen or any(map(_MAIL.search, (*queried, *others))) else ""


def _decoded_of(value: str) -> str:
    """The value without percent signs, also where it was written with them twice or three times."""
    for _ in range(3):
        if "%" not in value and "+" not in value:
            break
        value = unquote_plus(value)
    return value


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
    if _BASE32.match(value):
        plain = value.rstrip("=").upper()
        with contextlib.suppress(binascii.Error):
            found.append(base64.b32decode(plain + "=" * (-len(plain) % 8)))
    if _ENCODED.match(value):
        plain = value.rstrip("=").replace("-", "+").replace("_", "/")
        with contextlib.suppress(binascii.Error):
            found.append(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))
    return found
