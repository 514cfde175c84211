"""Pictures in the terminal, where it can show them; they are saved as files in any case."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from arriero.agent.events import ArtifactRef

from .artifacts import keep
from .terminal import Terminal

if TYPE_CHECKING:
    from PIL.Image import Image

Protocol = Literal["kitty", "sixel", "block", "off"]

VARIABLE: Final = "ARRIERO_IMAGES"
OTHERS: Final = ("auto", "path")
"""Values of the variable beside the protocols; where pictures are saved is told with any of them."""
HINT: Final = "this terminal can show plots: pip install 'arriero[images]'"
_COLUMNS, _ROWS = 72, 24
_PIXELS: Final = 20_000_000
"""Of a picture that is decoded here; it comes from code that is not trusted."""
_FORMATS: Final = ("PNG", "JPEG")
_SIXEL: Final = frozenset({"WezTerm", "iTerm.app", "mintty", "contour", "rio"})
_SIXEL_TERMS: Final = ("foot", "mlterm", "contour", "yaft")


def protocol_of(terminal: Terminal, environ: Mapping[str, str] | None = None) -> Protocol:
    """How pictures are shown: as ``ARRIERO_IMAGES`` says (kitty, sixel, block; path or off for not at all), with
    auto, or without it, by what the terminal says it is.

    In tmux and screen, over which few get through, none are shown unless the variable says so. Nothing is asked
    of the terminal.
    """
    variables = os.environ if environ is None else environ
    if not terminal.interactive:
        return "off"
    wanted = variables.get(VARIABLE, "")
    if wanted in get_args(Protocol):
        return wanted  # type: ignore[return-value]
    if wanted == "path":
        return "off"
    name, program = variables.get("TERM", ""), variables.get("TERM_PROGRAM", "")
    if variables.get("TMUX") or variables.get("STY") or name.startswith(("tmux", "screen")):
        return "off"
    if variables.get("KITTY_WINDOW_ID") or name in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return "kitty"
    if program in _SIXEL or name.startswith(_SIXEL_TERMS):
        return "sixel"
    return "off"


class Pictures:
    """Shows pictures on one terminal. ``hint`` says what is missing for that, if anything is."""

    def __init__(self, terminal: Terminal, environ: Mapping[str, str] | None = None) -> None:
        self.protocol = protocol_of(terminal, environ)
        self.hint = ""
        self._terminal = terminal
        self._kind: Any = None
        if self.protocol == "off" or not (sys.__stdout__ and sys.__stdout__.isatty()):
            self.protocol = "off"
        elif find_spec("textual_image") is None:
            self.protocol, self.hint = "off", HINT
        else:
            # Importing asks the terminal what it can do, and takes keys that are typed meanwhile for its answer:
            # so early, nobody types yet.
            from textual_image import renderable

            kinds = {"kitty": "TGPImage", "sixel": "SixelImage", "block": "HalfcellImage"}
            self._kind = getattr(renderable, kinds[self.protocol])

    def show(self, artifact: ArtifactRef) -> bool:
        """Show a picture; False where that cannot be, or it is no picture that can be read."""
        if self._kind is None or not artifact.mime.startswith("image/"):
            return False
        from PIL import UnidentifiedImageError

        try:
            image = _decoded(artifact.data)
            columns = min(_COLUMNS, self._terminal.width - 2, 2 * _ROWS * image.width // image.height)
            shown = self._kind(image, width=max(1, columns), height="auto")
            console = self._terminal.console()
            console.print(shown)
        except (UnidentifiedImageError, OSError, ValueError, ZeroDivisionError, SyntaxError):
            return False
        return True


def _decoded(data: bytes) -> "Image":
    from PIL import Image

    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    if image.width * image.height > _PIXELS:
        raise ValueError("more pixels than a terminal could show")
    return image.convert("RGB")


def deliver(
    run_id: str,
    artifacts: Iterable[ArtifactRef],
    pictures: Pictures,
    tell: Callable[[str], None],
    complain: Callable[[str], None],
) -> None:
    """Save what a tool produced, say where, and show the pictures among it."""
    produced = tuple(artifacts)
    if not produced:
        return
    try:
        paths = keep(run_id, produced)
    except OSError as error:
        complain(f"what was produced could not be saved: {error}")
        return
    for artifact, path in zip(produced, paths, strict=True):
        pictures.show(artifact)
        tell(f"saved {path}")
