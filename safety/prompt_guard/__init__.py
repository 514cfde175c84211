"""Prompt Guard 1 and 2: jailbreaks and injections, found by a small classifier."""

from .screen import PromptGuard

__all__ = ["PromptGuard"]
