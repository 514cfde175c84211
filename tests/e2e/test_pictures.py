"""Pictures on terminals that say what they can show, asked through a real pseudo-terminal."""

import base64
import re
import sys
from typing import Any

import pexpect
import pyte
import pytest

pytest.importorskip("textual_image", reason="the extra images is not installed")

PROGRAM = """
import io, logging, struct, sys, zlib
from PIL import Image
from arriero.agent.cli.pictures import Pictures
from arriero.agent.cli.terminal import Terminal
from arriero.agent.events import ArtifactRef

def picture(form="PNG", size=(40, 20)):
    data = io.BytesIO()
    Image.new("RGB", size, "red").save(data, form)
    return data.getvalue()

def bomb():
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\\x89PNG\\r\\n\\x1a\\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))

logging.getLogger().addHandler(logging.NullHandler())
pictures = Pictures(Terminal.detect(sys.stdout))
for name, data in (("good", picture()), ("cut", picture()[:60]), ("gif", picture("GIF")), ("none", b""),
                   ("bomb", bomb()), ("text", b"<svg onload=x>")):
    print("<" + name + ">", flush=True)
    shown = pictures.show(ArtifactRef(name="fig.png", mime="image/png", data=data))
    print("</" + name + ">", shown, flush=True)
"""


def shown(environment: dict[str, str], **more: str) -> bytes:
    """Everything that the program writes to a terminal that answers what it is asked."""
    child: Any = pexpect.spawn(sys.executable, ["-c", PROGRAM], env={**environment, **more}, timeout=30)
    screen: Any = pyte.Screen(80, 24)
    screen.write_process_input = child.send
    stream, raw = pyte.ByteStream(screen), b""
    while True:
        try:
            data = child.read_nonblocking(65536, timeout=30)
        except pexpect.EOF:
            break
        raw += data
        stream.feed(data)
    child.close()
    assert child.exitstatus == 0, raw.decode()
    return raw


@pytest.mark.parametrize(
    ("more", "begins"),
    [
        ({"TERM": "xterm-kitty"}, rb"\x1b_Gi=\d+,m=[01],f=100,q=2;([A-Za-z0-9+/=]+)\x1b\\"),
        ({"TERM": "foot"}, rb"\x1bP[0-9;]*q"),
        ({"ARRIERO_IMAGES": "block"}, "▄|▀".encode()),
    ],
    ids=["kitty", "sixel", "block"],
)
def test_a_picture_is_shown_the_way_the_terminal_knows(
    more: dict[str, str], begins: bytes, environment: dict[str, str]
) -> None:
    raw = shown(environment, **more)
    drawn = raw[raw.index(b"<good>") : raw.index(b"</good>")]
    found = re.search(begins, drawn)
    assert found
    if b"Gi" in begins:
        assert base64.b64decode(found[1]).startswith(b"\x89PNG")
    results = dict(re.findall(rb"</(\w+)> (\w+)", raw))
    assert results.pop(b"good") == b"True"
    assert set(results.values()) == {b"False"}


def test_none_is_shown_in_tmux(environment: dict[str, str]) -> None:
    raw = shown(environment, TERM="tmux-256color", TMUX="/tmp/tmux-0/default,1,0")
    assert b"\x1b" not in raw
    assert b"True" not in raw
