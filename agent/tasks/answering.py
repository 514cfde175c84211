"""A model that is told what its answer's data must look like: those that can, sample nothing else."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from ..backends import Constraint, Model, Sampling, Token


class _Answering:
    """The model, with a JSON schema of the answer added to what every message is held to."""

    def __init__(self, model: Model, schema: Mapping[str, Any]) -> None:
        self._model = model
        self._schema = schema

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        held = replace(constraint or Constraint(), answer=self._schema)
        return self._model.generate(tokens, sampling, max_tokens=max_tokens, constraint=held)


def answering(model: Model, schema: Mapping[str, Any] | None) -> Model:
    """The same model for a step that wants data; the task, not the run, decides about further attempts."""
    return model if schema is None else cast(Model, _Answering(model, schema))
