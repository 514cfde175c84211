"""What is said while a model loads: its name, its size, and how much of it is there."""

import re
from pathlib import Path

from arriero.prompts import ArrieroError

from .settings import SCRIPT

_PART = re.compile(r"-\d{5}-of-(\d{5}\.gguf)$")


class Loading:
    """The line for the model of that name; ``fraction`` is how much of it is loaded."""

    def __init__(self, name: str) -> None:
        self.fraction = 0.0
        size = _size_of(name)
        shown = name if "://" in name else Path(name).name
        self._what = f"loading {shown} {_rounded(size)}" if size else f"loading {shown}"

    def tell(self, fraction: float) -> None:
        """Take down how much is loaded; from any thread."""
        self.fraction = fraction

    @property
    def line(self) -> str:
        """What there is to say by now."""
        return f"{self._what}  {self.fraction:.0%}"


def _size_of(name: str) -> int:
    """Bytes of the model's files; 0 where it has none here."""
    from arriero.agent.store.opening import model_path

    if name.startswith(SCRIPT) or "://" in name:
        return 0
    try:
        given = Path(name).expanduser()
        path = given if given.is_file() else model_path(name)
        others = [file for file in path.parent.iterdir() if _stem(file) == _stem(path)]
        return sum(file.stat().st_size for file in others)
    except (ArrieroError, OSError, RuntimeError):
        return 0  # what is wrong with it is said when it is loaded


def _stem(path: Path) -> str:
    return _PART.sub(r"-of-\1", path.name)


def _rounded(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
