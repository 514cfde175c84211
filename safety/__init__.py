"""What may pass: the screens that stand before every effect."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import (
    Action,
    Attachment,
    Place,
    Screen,
    ScreenError,
    ScreenInput,
    Span,
    Verdict,
)
from .policy import Policy, PolicyError, Rule, Streaming, Texts

if TYPE_CHECKING:
    from .code_shield import CodeShield
    from .llama_guard import LlamaGuard
    from .prompt_guard import PromptGuard

__all__ = [
    "Action",
    "Attachment",
    "CodeShield",
    "LlamaGuard",
    "Place",
    "Policy",
    "PolicyError",
    "PromptGuard",
    "Rule",
    "Screen",
    "ScreenError",
    "ScreenInput",
    "Span",
    "Streaming",
    "Texts",
    "Verdict",
]

# Guards are imported when they are first asked for: few programs use them, and they need more than the others.
_GUARDS = {"CodeShield": "code_shield", "LlamaGuard": "llama_guard", "PromptGuard": "prompt_guard"}


def __getattr__(name: str) -> Any:
    if name not in _GUARDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_GUARDS[name]}", __name__), name)
