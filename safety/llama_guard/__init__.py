"""Llama Guard 3: its prompts in every published wrapper, its verdicts, and the screen that asks it."""

from .prompt import (
    CATEGORIES,
    GUARD_FORMS,
    Category,
    GuardForm,
    GuardVerdict,
    guard_prompt,
    parse_verdict,
)
from .screen import LlamaGuard

__all__ = [
    "CATEGORIES",
    "GUARD_FORMS",
    "Category",
    "GuardForm",
    "GuardVerdict",
    "LlamaGuard",
    "guard_prompt",
    "parse_verdict",
]
