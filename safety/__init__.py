"""What may pass: the screens that stand before every effect."""

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

__all__ = [
    "Action",
    "Attachment",
    "Place",
    "Policy",
    "PolicyError",
    "Rule",
    "Screen",
    "ScreenError",
    "ScreenInput",
    "Span",
    "Streaming",
    "Texts",
    "Verdict",
]
