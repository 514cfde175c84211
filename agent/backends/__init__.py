"""Models behind one protocol: llama.cpp in process, and scripted doubles for tests."""

from .base import ContextOverflow, Model, ModelError, Sampling, Token

__all__ = ["ContextOverflow", "Model", "ModelError", "Sampling", "Token"]
