"""Grammars made ready for one vocabulary, by llguidance."""

import json
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arriero.prompts.messages import BUILTIN_TOOLS, CODE_INTERPRETER

from ..base import Constraint, ModelError
from ..vocab import Vocab
from .openers import BRACKETS, LONG, Openers
from .rules import CallRules

if TYPE_CHECKING:
    from llguidance import LLMatcher

log = logging.getLogger(__name__)

PLAIN, BRACKET, BEGINS, TAG, STOP, NAMED = range(6)
"""What a token can do to prose: nothing, open a call, begin one that is recognised later, be the tag, end it; or
be a control token of another kind."""

_KEPT = 16


class Lexicon:
    """What grammars need to know of a vocabulary; building it takes about 1 s for 128,256 tokens."""

    def __init__(self, vocab: Vocab) -> None:
        from llguidance import LLTokenizer, TokenizerWrapper

        self.pieces = [vocab.piece(token) for token in range(vocab.size)]
        self.stops = [
            token for token in range(vocab.size) if vocab.is_named(token) and vocab.stop_kind(token)
        ]
        self.tag = next(
            (token for token, piece in enumerate(self.pieces) if piece == b"<|python_tag|>"), None
        )
        self.kinds = bytes(self._kind(vocab, token) for token in range(vocab.size))
        self.size = vocab.size
        if not self.stops:
            raise ModelError(
                "the vocabulary has no token that ends a message, so that nothing can be constrained"
            )
        self.tokenizer = LLTokenizer(TokenizerWrapper(_Encoding(vocab, self)))

    def _kind(self, vocab: Vocab, token: int) -> int:
        if token == self.tag:
            return TAG
        if vocab.is_named(token):
            return STOP if token in self.stops else NAMED
        piece = self.pieces[token]
        if BRACKETS.isdisjoint(piece):
            return PLAIN
        return BRACKET if LONG.isdisjoint(piece) else BEGINS

    def tokens_of(self, text: bytes) -> list[int]:
        """Tokens for any bytes, a part of a character included."""
        tokens: list[int] = self.tokenizer.tokenize_bytes(text)
        return tokens


class _Encoding:
    """A vocabulary in the shape in which llguidance takes one."""

    def __init__(self, vocab: Vocab, lexicon: Lexicon) -> None:
        self._vocab = vocab
        self.tokens = lexicon.pieces
        self.special_token_ids = [token for token in range(vocab.size) if vocab.is_named(token)]
        self.eos_token_id = lexicon.stops[0]
        self.bos_token_id = None

    def __call__(self, text: bytes) -> list[int]:
        return self._vocab.encode(text.decode("utf-8", "replace"))


@dataclass(slots=True)
class Compiled:
    """A constraint ready for use: the same for every message that it holds for."""

    constraint: Constraint
    lexicon: Lexicon
    openers: Openers
    rules: CallRules
    _matchers: dict[str, "LLMatcher"] = field(default_factory=dict)

    @property
    def code(self) -> bool:
        """Whether free text behind ``<|python_tag|>`` is a call."""
        return any(tool.name == CODE_INTERPRETER for tool in self.constraint.tools)

    def call(self, *, fenced: bool = False) -> "LLMatcher":
        """A matcher for what a message is from where its call begins; raises ModelError."""
        return self._matcher("fenced" if fenced else "call")

    def message(self) -> "LLMatcher":
        """A matcher for a whole message of a constraint that leaves no prose; raises ModelError."""
        return self._matcher("message")

    def _matcher(self, kind: str) -> "LLMatcher":
        from llguidance import LLMatcher

        ready = self._matchers.get(kind)
        if ready is None:
            answer = self.constraint.answer if kind == "message" and not self.constraint.required else None
            grammar = self.rules.grammar(fenced=kind == "fenced", answer=answer)
            ready = LLMatcher(self.lexicon.tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=0)
            if ready.is_error():
                raise ModelError(
                    f"no grammar can be made of this constraint: {_first_line(ready.get_error())}"
                )
            self._matchers[kind] = ready
        return ready.deep_copy()


class Grammars:
    """The grammars of one model; safe to use from any thread.

    Raises ModelError where an answer's schema cannot be compiled. A tool's schema that cannot is logged as a
    warning: calls of that tool are then held to the form alone.
    """

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._lock = threading.Lock()
        self._lexicon: Lexicon | None = None
        self._compiled: OrderedDict[str, Compiled] = OrderedDict()

    def find(self, constraint: Constraint) -> Compiled | None:
        """The constraint made ready earlier, at once; None if ``compile`` has to be called."""
        return self._compiled.get(_key(constraint))

    def compile(self, constraint: Constraint) -> Compiled:
        """Make the constraint ready, once: milliseconds for tens of tools; the first also reads the vocabulary."""
        key = _key(constraint)
        with self._lock:
            if key not in self._compiled:
                if self._lexicon is None:
                    self._lexicon = Lexicon(self._vocab)
                self._compiled[key] = self._new(constraint, self._lexicon)
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
            return self._compiled[key]

    def _new(self, constraint: Constraint, lexicon: Lexicon) -> Compiled:
        from llguidance import LLMatcher

        def problem(grammar: str) -> str | None:
            failed, notes = LLMatcher.validate_grammar_with_warnings(
                LLMatcher.grammar_from_lark(grammar), lexicon.tokenizer
            )
            return _first_line(notes[0]) if failed else None

        rules = CallRules(constraint.tools, problem)
        for warning in rules.warnings:
            log.warning("%s", warning)
        names = {*BUILTIN_TOOLS, *(tool.name for tool in constraint.tools)}
        compiled = Compiled(constraint, lexicon, Openers(names), rules)
        if constraint.tools:
            compiled.call()
        if constraint.answer is not None or constraint.required:
            compiled.message()
        return compiled


def _key(constraint: Constraint) -> str:
    tools = [[tool.name, tool.parameters] for tool in constraint.tools]
    return json.dumps([tools, constraint.answer, constraint.required], default=str)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else "no reason was given")[:300]
