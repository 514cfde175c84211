"""Models without weights, for tests: they replay raw assistant text, so that parser and loop are the real
ones.
"""

import inspect
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, overload

from arriero.prompts import Segment

from .base import Constraint, ModelError, Sampling, Token

_SPECIAL: Final = 0x110000
_STOPS: Final = {"<|eot_id|>": "eot", "<|eom_id|>": "eom", "<|end_of_text|>": "eos"}

_MARKER: Final = re.compile(r"(<\|(?:eot_id|eom_id|end_of_text|python_tag)\|>)")

Answer = Callable[[str], str | Awaitable[str]]


class Prompts(Sequence[str]):
    """The prompts that a model was given; what one has in common with the one before it is kept once."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._spans: list[tuple[int, int]] = []
        self._start = 0

    def begin(self) -> None:
        """Begin a prompt that does not go on with what was added before."""
        self._start = len(self._pieces)

    def add(self, text: str) -> None:
        """Add text to the prompt, or the answer to it, which belongs to the prompt that goes on with it."""
        self._pieces.append(text)

    def end(self) -> None:
        """Say that all that was added is a prompt."""
        self._spans.append((self._start, len(self._pieces)))

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        start, end = self._spans[index]
        return "".join(self._pieces[start:end])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


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
        self.prompts = Prompts()
        self.prefilled: list[int] = []
        self.constraints: list[Constraint | None] = []
        self._chunk = chunk
        self._pieces: dict[str, int] = {}
        self._texts: list[str] = []
        self._heard: Sequence[int] = ()
        self._length = 0  # of the last prompt: what was heard may have grown since
        self._said: list[int] = []

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
        self._hear(tokens)
        for number, piece in enumerate(self._split(await self._answer())):
            if max_tokens is not None and number >= max_tokens:
                return
            token = Token(self._id(piece), piece, _STOPS.get(piece))
            self._said.append(token.id)
            self.prompts.add(piece)
            yield token
            if token.stop:
                return

    async def aclose(self) -> None:
        """Nothing to free."""

    async def _answer(self) -> str:
        """What is written to the last prompt."""
        answer = self.function(self.prompts[-1])
        return await answer if inspect.isawaitable(answer) else answer

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

    def _hear(self, tokens: Sequence[int]) -> None:
        """Take down a prompt, of which only what is new is read."""
        known = self._length + len(self._said)
        if not (self._starts(tokens) and list(tokens[self._length : known]) == self._said):
            known = 0
            self.prompts.begin()
        fresh = tokens[known:]
        self._heard, self._length, self._said = tokens, len(tokens), []
        self.prompts.add(self.detokenize(fresh))
        self.prompts.end()
        self.prefilled.append(len(fresh))

    def _starts(self, tokens: Sequence[int]) -> bool:
        """Whether tokens begin with the last prompt. The same list does: it only ever grows (Conversation.tokens)."""
        return tokens is self._heard or list(tokens[: self._length]) == list(self._heard[: self._length])


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

    async def _answer(self) -> str:
        return (
            self._next()
        )  # whatever the prompt says: putting a long one together would cost more than the answer

    def _next(self, prompt: str = "") -> str:
        if self.used >= len(self.answers):
            raise ModelError(f"the script has {len(self.answers)} answers and was asked for one more")
        self.used += 1
        return self.answers[self.used - 1]

    def assert_complete(self) -> None:
        """Raise AssertionError unless every answer was used."""
        left = len(self.answers) - self.used
        assert not left, f"{left} of {len(self.answers)} scripted answers were not used"
