"""What can be told of a text from its characters alone."""

from .screen import PatternScreen

__all__ = ["PatternScreen"]
