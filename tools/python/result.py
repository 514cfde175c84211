"""What one execution brought, made safe to show, and its exact text for the model.

The text is that of Llama's reference code interpreter: the status line, then each stream that is not empty
between ``[stdout]`` or ``[stderr]`` lines. Images and what happened to the kernel follow in lines of their
own.
"""

import re
from dataclasses import dataclass
from typing import Literal

from arriero.tools import Artifact

from .images import Image
from .limits import SandboxLimits

Status = Literal["completed", "timeout", "error"]

# Control sequences of terminals (CSI, OSC, DCS and their kin), C0 and C1 controls but tab and newline, and
# the directional overrides that make text read otherwise than it is.
_CONTROL = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\\\)?|\x1b."
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]",
    re.DOTALL,
)
_FILE_LINE = re.compile(r'File "[^"\n]*", line (\d+)')
_SUFFIX = {"image/png": "png", "image/jpeg": "jpg"}


@dataclass(frozen=True, slots=True)
class Execution:
    """What one cell brought. Text is sanitised; ``left_out`` counts characters that were too many to keep.

    ``note`` says what became of the kernel when it did not simply go on; ``state_lost`` that its variables
    are gone.
    """

    status: Status
    stdout: str = ""
    stderr: str = ""
    images: tuple[Image, ...] = ()
    state_lost: bool = False
    failed: bool = False
    note: str = ""
    left_out: int = 0
    seconds: float = 0.0


def sanitise(text: str) -> str:
    """Text that a terminal shows as it is: no control sequences or overrides, no lone surrogates.

    A carriage return starts its line anew, as progress bars mean it.
    """
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return _CONTROL.sub("", text).encode("utf-8", "replace").decode("utf-8")


def shorten_files(stderr: str) -> str:
    """Replace ``File "…", line N`` by ``line N``: the names are of no use to the model."""
    return _FILE_LINE.sub(r"line \1", stderr)


def result_text(status: str, stdout: str, stderr: str) -> str:
    """The reference's joining of a status and two streams, each of which is stripped."""
    parts = [status]
    for name, text in (("stdout", stdout.strip()), ("stderr", stderr.strip())):
        if text:
            parts += [f"[{name}]", text, f"[/{name}]"]
    return "\n".join(parts)


def cut(text: str, head: int, tail: int) -> str:
    """At most ``head`` and ``tail`` characters of the text, and a line between on how many were left out."""
    if len(text) <= head + tail:
        return text
    missing = len(text) - head - tail
    return f"{text[:head]}\n[… {missing} characters left out …]\n{text[len(text) - tail :]}"


def for_model(execution: Execution, limits: SandboxLimits) -> tuple[str, tuple[Artifact, ...]]:
    """The text for the model, and the artifacts: images as fig-N.png or .jpg, a cut output as output.txt."""
    stdout, stderr = execution.stdout.strip(), execution.stderr.strip()
    head, tail = limits.model_head_chars, limits.model_tail_chars
    shown = [cut(stdout, head, tail), cut(stderr, head, tail)]
    text = result_text(execution.status, *shown)
    artifacts: list[Artifact] = []
    lines: list[str] = []
    for number, image in enumerate(execution.images, 1):
        name = f"fig-{number}.{_SUFFIX[image.mime]}"
        artifacts.append(Artifact(name, image.mime, image.data))
        lines.append(f"[image saved as {name}]")
    if shown != [stdout, stderr] or execution.left_out:
        whole = result_text(execution.status, stdout, stderr)
        artifacts.append(Artifact("output.txt", "text/plain", whole.encode()))
        lines.append("[the whole output is saved as output.txt]")
    if execution.note:
        lines.append(f"[{execution.note}]")
    return "\n".join([text, *lines]), tuple(artifacts)
