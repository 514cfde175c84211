"""Pictures from the code: real ones pass as they look, and nothing else does."""

import base64
import io
import struct
import zlib
from typing import Any

import pytest

from arriero.tools.python.images import decode_image

MOST = 40_000_000
JPEG_FRAME = b"\xff\xc0\0\x0b\x08%b\x01\x01\x11\0"
JPEG_SCAN = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\x12\xff\0\xff\xd0\x34"


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))


def png(*parts: bytes, size: tuple[int, int] = (10, 10)) -> bytes:
    pixels = chunk(b"IDAT", zlib.compress(bytes(410)))
    return b"\x89PNG\r\n\x1a\n" + header(*size) + b"".join(parts) + pixels + chunk(b"IEND")


def jpeg(*sizes: tuple[int, int], scans: int = 1, before: bytes = b"") -> bytes:
    frames = b"".join(JPEG_FRAME % struct.pack(">HH", height, width) for width, height in sizes)
    return b"\xff\xd8" + before + frames + JPEG_SCAN * scans + b"\xff\xd9"


def decoded(data: bytes, mime: object = "image/png") -> Any:
    return decode_image(mime, base64.b64encode(data).decode(), MOST)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"\x7fELF" + bytes(100),
        png()[:20],
        png()[:-6],  # cut off
        png()[:-12],  # without an end
        png(size=(2**20, 2**20)),
        png(size=(0, 10)),
        png(size=(2**32 - 1, 2**32 - 1)),
        png(header(60_000, 60_000)),  # a second header, which some decoders go by
        png(chunk(b"XDAT", b"x")),  # nobody can say what it does to the picture
        b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"a\0b") + png()[8:],
        struct.pack(">8sI4s", b"\x89PNG\r\n\x1a\n", 2**32 - 1, b"IHDR"),
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\0\0" + bytes(20),
        jpeg((64, 48))[:-2],
        jpeg((64, 48))[:-5],
        jpeg((65_535, 65_535)),
        jpeg((0, 0)),
        jpeg(),
        jpeg((64, 48), (65_535, 65_535)),
        jpeg((64, 48), scans=0),
        jpeg((64, 48), scans=500),
        jpeg((64, 48)).replace(b"\xff\xc0", b"\0\xc0"),
    ],
)
def test_what_is_no_sensible_picture_is_refused(data: bytes) -> None:
    assert decoded(data) is None


@pytest.mark.parametrize("encoded", [None, 12, "!!!", "AAAA", ["x"], {}])
def test_what_is_no_base64_of_one_is_refused(encoded: object) -> None:
    assert decode_image("image/png", encoded, MOST) is None


def test_only_what_the_pixels_need_is_kept() -> None:
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000_000)))
    found = decoded(png(bomb, chunk(b"acTL", bytes(8)), chunk(b"eXIf", b"MM")) + b"<script>")
    assert found.data == png()
    profile, thumbnail = b"\xff\xe2\0\x06ICC_", b"\xff\xe1\0\x0aExif\xff\xc0\xff\xff"
    found = decoded(jpeg((64, 48), before=profile + thumbnail + b"\xff\xfe\0\x04hi") + b"<script>")
    assert found.data == jpeg((64, 48))


def test_the_bytes_decide_what_it_is() -> None:
    assert decoded(png(), "text/html").mime == "image/png"
    assert decoded(jpeg((64, 48)), "image/png").mime == "image/jpeg"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "progressive"])
def test_real_pictures_look_the_same(form: str) -> None:
    images = pytest.importorskip("PIL.Image")
    picture = images.effect_mandelbrot((300, 200), (-2, -1, 1, 1), 50).convert("RGB")
    file = io.BytesIO()
    picture.save(
        file, form.replace("progressive", "JPEG"), progressive=form == "progressive", comment="words"
    )
    found = decoded(file.getvalue())
    with images.open(file) as before, images.open(io.BytesIO(found.data)) as after:
        assert before.tobytes() == after.tobytes()


def test_a_limit_of_pixels_counts() -> None:
    assert decode_image("image/png", base64.b64encode(png()).decode(), 100) is not None
    assert decode_image("image/png", base64.b64encode(png()).decode(), 99) is None
