"""A model that replays a file: for trying the command line, and for tests of scripts that use it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from arriero.agent.backends import Constraint, ContextOverflow, Sampling, ScriptedModel, Token

from .exits import NotReady


class ScriptFile(ScriptedModel):
    """Raw assistant texts from a file, one a step, separated by lines that hold only ``---``.

    Each text ends with ``<|eot_id|>`` or ``<|eom_id|>``; without either, ``<|eot_id|>`` is added. A first
    line ``pace: SECONDS`` makes every token take that long (default 0). Raises NotReady.
    """

    def __init__(self, path: Path, context_length: int = 1_000_000) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise NotReady(f"the script {path} cannot be read: {why}") from error
        self._pace = 0.0
        first, _, rest = text.partition("\n")
        if first.startswith("pace:"):
            self._pace, text = _seconds(first, path), rest
        super().__init__(_answers(text), name=path.name, context_length=context_length)

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        """The next text, at the script's pace. Raises ContextOverflow as a real model does."""
        if len(tokens) >= self.context_length:
            raise ContextOverflow(
                f"the conversation has {len(tokens)} tokens and the context only {self.context_length}"
            )
        async for token in super().generate(tokens, sampling, max_tokens=max_tokens, constraint=constraint):
            await asyncio.sleep(self._pace)
            yield token


def _answers(text: str) -> list[str]:
    pieces: list[list[str]] = [[]]
    for line in text.splitlines():
        if line == "---":
            pieces.append([])
        else:
            pieces[-1].append(line)
    answers = ["\n".join(lines) for lines in pieces if lines]
    return [a if a.endswith(("<|eot_id|>", "<|eom_id|>")) else f"{a}<|eot_id|>" for a in answers]


def _seconds(line: str, path: Path) -> float:
    try:
        return float(line.removeprefix("pace:"))
    except ValueError:
        raise NotReady(f"{path}: the first line should be like 'pace: 0.05', not {line!r}") from None
