"""Python in a sandboxed Jupyter kernel."""

from .errors import SandboxBroken, SandboxUnavailable
from .images import Image
from .levels import LevelReport
from .limits import SandboxLimits
from .result import Execution
from .sandbox import Sandbox
from .tool import PythonTool

__all__ = [
    "Execution",
    "Image",
    "LevelReport",
    "PythonTool",
    "Sandbox",
    "SandboxBroken",
    "SandboxLimits",
    "SandboxUnavailable",
]
