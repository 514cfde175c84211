"""Insecure code: a scanner of Python and shell, and the rules of Code Shield."""

from .screen import CodeShield

__all__ = ["CodeShield"]
