"""Pictures that the code shows: only PNG and JPEG, looked through and written anew, their pixels never decoded.

What surrounds the pixels is left out (text, profiles, thumbnails, animation, whatever follows the end): it is of no
use here, and may unpack to gigabytes or be a file of another kind. The forms are those of the PNG specification
(https://www.w3.org/TR/png-3/) and of ITU-T T.81 (JPEG).
"""

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PARTS = frozenset(
    (b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"IDAT", b"IEND")
)
_SOI, _EOI, _SOS, _APP0, _APP14, _COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE, 0xFE
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MOST_SCANS = 100  # each makes a decoder go over all pixels again; progressive pictures have about ten


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that the code showed: PNG or JPEG, its parts checked, its pixels never decoded."""

    mime: str
    data: bytes = field(repr=False)


def decode_image(mime: object, encoded: object, most_pixels: int) -> Image | None:
    """An image from base64, or None for what is no PNG or JPEG, is broken, or has more than ``most_pixels``.

    ``mime`` is what the code calls it; the bytes decide.
    """
    if not isinstance(encoded, str):
        return None
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
        if data.startswith(_PNG):
            return Image("image/png", _png(data, most_pixels))
        return Image("image/jpeg", _jpeg(data, most_pixels))
    except (binascii.Error, ValueError, IndexError, struct.error):
        return None


def _png(data: bytes, most_pixels: int) -> bytes:
    """The picture with nothing but what its pixels need. Raises ValueError."""
    kept = [_PNG]
    for number, (kind, chunk) in enumerate(_chunks(data)):
        if (kind == b"IHDR") != (number == 0):
            raise ValueError("one header, and that first")
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", chunk, 8)
            _check_size(width, height, most_pixels)
        if kind in _PNG_PARTS:
            kept.append(chunk)
        elif not kind[0] & 0x20:
            raise ValueError(f"unknown part {kind!r}, without which the picture cannot be read")
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes, length and sum included, of each part to the end of the picture."""
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            raise ValueError("the picture is cut off")
        yield kind, data[at:end]
        at = end


def _jpeg(data: bytes, most_pixels: int) -> bytes:
    """The picture with nothing but what its pixels need. Raises ValueError or IndexError."""
    if data[:3] != b"\xff\xd8\xff":
        raise ValueError("neither PNG nor JPEG")
    kept, frames, scans = [data[:2]], 0, 0
    for marker, segment in _segments(data):
        if marker in _FRAMES:
            frames += 1
            height, width = struct.unpack_from(">HH", segment, 5)
            _check_size(width, height, most_pixels)
        scans += marker == _SOS
        if marker in (_APP0, _APP14) or not (_APP0 <= marker <= 0xEF or marker == _COM):
            kept.append(segment)
    if frames != 1 or not 0 < scans <= _MOST_SCANS:
        raise ValueError("one frame, and scans in moderation")
    return b"".join(kept)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of each segment to the end of the picture; those of a scan go on to the next marker."""
    at, marker = 2, _SOI
    while marker != _EOI:
        if data[at] != 0xFF:
            raise ValueError("no marker where one has to be")
        marker, end = data[at + 1], at + 2
        if marker == 0xFF:  # may be repeated
            at += 1
            continue
        if marker not in _ALONE and marker != _EOI:
            length = int.from_bytes(data[end : end + 2], "big")
            end += max(length, 2)
        if marker == _SOS:
            end = _end_of_scan(data, end)
        if end > len(data):
            raise ValueError("the picture is cut off")
        yield marker, data[at:end]
        at = end


def _end_of_scan(data: bytes, start: int) -> int:
    at = data.index(b"\xff", start)
    while data[at + 1] == 0 or data[at + 1] in _ALONE:
        at = data.index(b"\xff", at + 2)
    return at


def _check_size(width: int, height: int, most_pixels: int) -> None:
    if not 0 < width * height <= most_pixels:
        raise ValueError("no sensible size")
