"""Models that a server runs: llama-server, llamafile, vLLM and Ollama behind the same protocol."""

from .model import HTTPModel
from .server import ServerKind

__all__ = ["HTTPModel", "ServerKind"]
