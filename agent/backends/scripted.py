"""Models without weights, for tests: they replay raw assistant text, so that parser and loop are the real
ones.
"""

import inspect
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final

from arriero.prompts import Segment

from .base import Constraint, ModelError, Sampling, Token

_SPECIAL: Final = 0x110000
_STOPS: Final = {"<|eot_id|>": "eot", "<|eom_id|>": "eom", "<|end_of_text|>": "eos"}

_MARKER: Final = re.compile(r"(<\|(?:eot_id|eom_id|end_of_text|python_tag)\|>)")

Answer = Callable[[str], str | Awaitable[str]]


class FunctionModel:
    """A model that answers with what ``function(prompt)`` returns: raw assistant text for the rendered
    prompt.

    The text should end with ``<|eot_id|>`` or ``<|eom_id|>``; without either the answer counts as cut off. A
    token is ``chunk`` characters long (default 4). ``prompts`` keeps every prompt; ``prefilled`` counts the
    tokens of each that were not a continuation of what this model had seen; ``constraints`` keeps what each
    answer was asked to be.
    """

    constrains = False

    def __init__(
        self,
        function: Answer,
        *,
        name: str = "function",
        dialect: str = "llama3.1",
        context_length: int = 1_000_000,
        chunk: int = 4,
    ) -> None:
        self.function = function
        self.name = name
        self.dialect = dialect
        self.context_length = context_length
        self.prompts: list[str] = []
        self.prefilled: list[int] = []
        self.constraints: list[Constraint | None] = []
        self._chunk = chunk
        self._pieces: dict[str, int] = {}
        self._texts: list[str] = []
        self._seen: list[int] = []

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """One token a character for plain text; one of its own for each control token."""
        ids: list[int] = []
        for segment in segments:
            ids += [self._id(segment.text)] if segment.special else map(ord, segment.text)
        return ids

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens, control tokens by name."""
        return "".join(self._texts[token - _SPECIAL] if token >= _SPECIAL else chr(token) for token in tokens)

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        """The function's answer to this prompt, ``chunk`` characters a token; constraints are ignored."""
        self.constraints.append(constraint)
        self._count_prefill(tokens)
        prompt = self.detokenize(tokens)
        self.prompts.append(prompt)
        answer = self.function(prompt)
        text = await answer if inspect.isawaitable(answer) else answer
        for number, piece in enumerate(self._split(text)):
            if max_tokens is not None and number >= max_tokens:
                return
            token = Token(self._id(piece), piece, _STOPS.get(piece))
            self._seen.append(token.id)
            yield token
            if token.stop:
                return

    async def aclose(self) -> None:
        """Nothing to free."""

    def _id(self, piece: str) -> int:
        if piece not in self._pieces:
            self._pieces[piece] = _SPECIAL + len(self._texts)
            self._texts.append(piece)
        return self._pieces[piece]

    def _split(self, text: str) -> list[str]:
        pieces: list[str] = []
        for run in _MARKER.split(text):
            if _MARKER.fullmatch(run):
                pieces.append(run)
            else:
                pieces += [run[start : start + self._chunk] for start in range(0, len(run), self._chunk)]
        return pieces

    def _count_prefill(self, tokens: Sequence[int]) -> None:
        continues = list(tokens[: len(self._seen)]) == self._seen
        self.prefilled.append(len(tokens) - len(self._seen) if continues else len(tokens))
        self._seen = list(tokens)


class ScriptedModel(FunctionModel):
    """A model that answers with the given raw texts, one a step.

    ``ScriptedModel(["<|python_tag|>print(1)<|eom_id|>", "One.<|eot_id|>"])``. Raises ModelError when asked
    for more than there are; ``assert_complete`` checks that all were used.
    """

    def __init__(
        self,
        answers: Sequence[str],
        *,
        name: str = "scripted",
        dialect: str = "llama3.1",
        context_length: int = 1_000_000,
        chunk: int = 4,
    ) -> None:
        super().__init__(self._next, name=name, dialect=dialect, context_length=context_length, chunk=chunk)
        self.answers = list(answers)
        self.used = 0

    def _next(self, prompt: str) -> str:
        if self.used >= len(self.answers):
            raise ModelError(f"the script has {len(self.answers)} answers and was asked for one more")
        self.used += 1
        return self.answers[self.used - 1]

    def assert_complete(self) -> None:
        """Raise AssertionError unless every answer was used."""
        left = len(self.answers) - self.used
        assert not left, f"{left} of {len(self.answers)} scripted answers were not used"
