"""Models behind one protocol: llama.cpp in process, servers over HTTP, and scripted doubles for tests."""

from typing import TYPE_CHECKING, Any

from .base import (
    Constraint,
    ContextOverflow,
    Model,
    ModelError,
    Progress,
    Sampling,
    TellsProgress,
    Token,
    TopToken,
)
from .scripted import FunctionModel, ScriptedModel

if TYPE_CHECKING:
    from .http import HTTPModel
    from .isolated import IsolatedModel
    from .llama_cpp import LlamaCppModel

__all__ = [
    "Constraint",
    "ContextOverflow",
    "FunctionModel",
    "HTTPModel",
    "IsolatedModel",
    "LlamaCppModel",
    "Model",
    "ModelError",
    "Progress",
    "Sampling",
    "ScriptedModel",
    "TellsProgress",
    "Token",
    "TopToken",
]


def __getattr__(name: str) -> Any:
    # The compiled library is loaded only when it is asked for.
    if name == "LlamaCppModel":
        from .llama_cpp import LlamaCppModel

        return LlamaCppModel
    if name == "IsolatedModel":
        from .isolated import IsolatedModel

        return IsolatedModel
    if name == "HTTPModel":
        from .http import HTTPModel

        return HTTPModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
