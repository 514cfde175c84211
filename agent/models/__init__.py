"""The bundled model, as package data."""

from importlib import resources
from pathlib import Path

from arriero.agent.backends.base import ModelError


def bundled_model() -> Path:
    """Path of the bundled demonstration model, a GGUF file of a few megabytes.

    It does one narrow field and says so; its card stands beside it. Raises ModelError where the installation
    lacks it.
    """
    file = resources.files(__name__) / "bundled.gguf"
    path = Path(str(file))
    if not path.is_file():
        raise ModelError(f"this installation lacks the bundled model ({path}); install arriero again")
    return path
