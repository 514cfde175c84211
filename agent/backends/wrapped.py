"""A model around another: what it does with the tokens is the subclass's, everything else is the inner model's."""

from collections.abc import Sequence
from typing import Any

from arriero.prompts import Segment

from .base import Model


class Wrapped:
    """Passes everything on to ``model``; a subclass says what ``generate`` does."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def dialect(self) -> str:
        return self._model.dialect

    @property
    def context_length(self) -> int:
        return self._model.context_length

    @property
    def constrains(self) -> bool:
        return self._model.constrains

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        return self._model.tokenize(segments)

    async def aclose(self) -> None:
        await self._model.aclose()
