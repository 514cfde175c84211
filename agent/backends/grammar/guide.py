"""Holds one message to a constraint while it is written."""

from typing import TYPE_CHECKING, Any

from arriero.prompts.parser import parse
from arriero.tools.arguments import argument_error

from ..base import ModelError
from .compiler import BEGINS, BRACKET, PLAIN, STOP, TAG, Compiled
from .openers import FENCE, Opening

if TYPE_CHECKING:
    from llguidance import LLMatcher

_WATCHED = 80  # tokens behind one that may open a call, within which it is seen whether it does
_TAIL = 2048  # bytes of prose that are looked back at
_REFUSED_STOPS = 8


class Guide:
    """Says token by token what a message may be.

    Prose is free, and costs a look-up a token. Where a call opens, a matcher takes over until the message ends.
    The caller asks ``accepts`` for the token that it sampled, samples anew from ``allowed`` or without what
    ``refused`` names where that says no, and tells each token that is written with ``take``.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        lexicon = compiled.lexicon
        self._kinds, self._pieces, self._stops = lexicon.kinds, lexicon.pieces, lexicon.stops
        constraint = compiled.constraint
        self._offers = bool(constraint.tools)
        held = constraint.required or constraint.answer is not None
        self._matcher: LLMatcher | None = compiled.message() if held else None
        self._fresh = held
        self._ready: tuple[int, LLMatcher] | None = None
        self._opening: tuple[Opening, bytes] | None = None
        self._written: list[int] = []
        self._flushed = 0
        self._tail = b""
        self._dropped = False
        self._fences = 0
        self._tagged = False
        self._watch = 0
        self._suspicious = False
        self._stops_left = _REFUSED_STOPS

    @property
    def engaged(self) -> bool:
        """Whether a matcher decides; else the message is prose or code."""
        return self._matcher is not None

    def accepts(self, token: int) -> bool:
        """Whether the message may go on with ``token``."""
        kind = self._kinds[token]
        if self._matcher is None:
            return (kind == PLAIN and not self._watch) or self._free(token, kind)
        if kind == STOP:
            return bool(self._matcher.is_accepting())
        if kind == TAG:
            return self._fresh and self._offers
        return bool(self._matcher.validate_tokens([token]) == 1)

    def take(self, token: int) -> None:
        """Note a token that was written; raises ModelError if the matcher has no place for it."""
        self._written.append(token)
        kind = self._kinds[token]
        if self._ready is not None and self._ready[0] == token:
            self._matcher = self._ready[1]
        elif kind == TAG and (self._fresh or self._matcher is None):
            self._tag()
        elif kind == STOP:
            pass
        elif self._matcher is not None:
            if not self._matcher.consume_token(token):
                raise self._dead_end()
        elif kind in (BEGINS, BRACKET):
            self._watch = _WATCHED if kind == BEGINS else max(0, self._watch - 1)
            self._suspicious = True
        elif self._watch:
            self._watch -= 1
        self._fresh = False
        self._ready = self._opening = None

    def forced(self) -> list[int]:
        """The tokens that must follow, already taken; none where there is a choice."""
        if self._matcher is None:
            return []
        tokens: list[int] = self._matcher.compute_ff_tokens()
        for token in tokens:
            self.take(token)
        return tokens

    def engage(self) -> bool:
        """After a refusal: let the matcher decide if it knows the beginning of the call that was refused."""
        if self._matcher is not None or self._opening is None:
            return self.engaged
        opening, written = self._opening
        matcher = self._compiled.call(fenced=opening.fenced)
        if not written or not self._feed(matcher, written):
            return False
        self._matcher, self._opening = matcher, None
        return True

    def allowed(self) -> Any:
        """The ids of all tokens that the matcher accepts, as a numpy vector; raises ModelError if there are none."""
        import numpy as np

        assert self._matcher is not None
        stopped = self._matcher.is_stopped()
        if self._matcher.is_error():
            raise self._dead_end()
        empty = bytes(4 * ((self._compiled.lexicon.size + 31) // 32))
        packed = bytearray(empty if stopped else self._matcher.compute_bitmask())
        accepting = self._matcher.is_accepting()
        for token in self._stops:
            _put(packed, token, accepting)
        tag = self._compiled.lexicon.tag
        if self._fresh and self._offers and tag is not None:
            _put(packed, tag, True)
        ids = _members(np.frombuffer(packed, dtype=np.uint8))
        if not len(ids):
            raise self._dead_end()
        return ids

    def refused(self, token: int) -> list[int]:
        """What not to sample again in the place of a refused ``token``, where no matcher decides."""
        return list(self._stops) if self._kinds[token] == STOP else [token]

    # --- prose -------------------------------------------------------------------------------------------------

    def _free(self, token: int, kind: int) -> bool:
        if kind == STOP:
            return self._may_end()
        if kind == TAG or not self._offers:
            return True
        opening, before = self._look(token)
        if opening is None:
            return True
        matcher = self._compiled.call(fenced=opening.fenced)
        begun = (before + self._pieces[token])[_bytes_before(before + self._pieces[token], opening.start) :]
        if self._feed(matcher, begun):
            self._ready = token, matcher
            return True
        self._opening = opening, begun[: max(0, len(begun) - len(self._pieces[token]))]
        return False

    def _look(self, token: int) -> tuple[Opening | None, bytes]:
        """The call that ``token`` would open, and the text before the token from which its place is counted."""
        self._flush()
        seen = len(_text(self._tail))
        text = _text(self._tail + self._pieces[token])
        openers = self._compiled.openers
        if self._tagged:
            return None if self._dropped else openers.tagged(text, seen), self._tail
        opening = None if self._dropped else openers.leading(text, seen)
        return opening or openers.inner(text, seen, fences=self._fences), self._tail

    def _flush(self) -> None:
        new = b"".join([self._pieces[token] for token in self._written[self._flushed :]])
        self._flushed = len(self._written)
        self._tail += new
        if len(self._tail) > 2 * _TAIL:
            cut, self._tail = self._tail[:-_TAIL], self._tail[-_TAIL:]
            self._fences += _text(cut).count(FENCE)
            self._dropped = True

    def _tag(self) -> None:
        self._suspicious = True
        self._flush()
        if self._tagged and self._tail.removesuffix(b"<|python_tag|>").strip():
            return  # a program may hold the tag's name
        self._tagged, self._dropped, self._tail = True, False, b""
        self._matcher = None if self._compiled.code else self._compiled.call()
        self._watch = _WATCHED

    def _may_end(self) -> bool:
        """Whether what was written so far can be read: the last look, by the parser itself."""
        if not self._suspicious or self._stops_left <= 0:
            return True
        if self._readable():
            return True
        self._stops_left -= 1
        return False

    def _readable(self) -> bool:
        tools = self._compiled.constraint.tools
        text = b"".join([self._pieces[token] for token in self._written]).decode("utf-8", "replace")
        parsed = parse(text, tools, code=self._compiled.code)
        specs = {tool.name: tool for tool in tools}
        try:
            return not parsed.malformed and all(
                call.name in specs and argument_error(specs[call.name], call.arguments) is None
                for call in parsed.calls
            )
        except Exception:  # a schema that cannot be used says nothing; the loop tells so
            return True

    # --- the matcher -------------------------------------------------------------------------------------------

    def _feed(self, matcher: "LLMatcher", text: bytes) -> bool:
        tokens = self._compiled.lexicon.tokens_of(text)
        return bool(tokens) and bool(matcher.try_consume_tokens(tokens) == len(tokens))

    def _dead_end(self) -> ModelError:
        assert self._matcher is not None
        reason = self._matcher.get_error() or str(self._matcher.stop_reason())
        lines = reason.strip().splitlines() or [""]
        return ModelError(
            f"the constraint allows no further token: {lines[0][:200]}; simplify the tools' schemas"
        )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes_before(data: bytes, start: int) -> int:
    return len(_text(data)[:start].encode("utf-8", "surrogateescape"))


def _put(packed: bytearray, token: int, present: bool) -> None:
    bit = 1 << (token & 7)
    packed[token >> 3] = packed[token >> 3] | bit if present else packed[token >> 3] & ~bit


def _members(packed: Any) -> Any:
    """The numbers of the bits that are set; where they are few, next to nothing of the vector is unpacked."""
    import numpy as np

    words = packed.view(np.uint32)
    places = np.flatnonzero(words)
    if len(places) > len(words) // 8:
        return np.flatnonzero(np.unpackbits(packed, bitorder="little").view(np.bool_))
    bits = np.flatnonzero(np.unpackbits(words[places].view(np.uint8), bitorder="little").view(np.bool_))
    return places[bits >> 5] * 32 + (bits & 31)
