"""A run of calls that stand together, held back until it is plain that they are calls and not a quotation."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ..messages import BUILTIN_TOOLS
from .context import Place
from .decode import (
    Broken,
    Call,
    Catalogue,
    Entry,
    broken_json,
    broken_list,
    builtin_calls,
    json_calls,
    pythonic_calls,
    tag_call,
)
from .events import CallSyntax
from .reader import Balance, Reader, Wait

TAGS = ("<|python_tag|>", "<|python_start|>")
PYTHON_END = "<|python_end|>"
FENCE = "```"
FUNCTION = "<function="
_FUNCTION_END = "</function>"
_HEADER, _HEADER_END = "<|start_header_id|>", "<|end_header_id|>"

_SPACE = re.compile(r"\s*+")
_OPENING = re.compile(r"[\s*]*+")
_SEPARATORS = re.compile(r"[\s;,\]*]*+")
_CLOSERS = re.compile(r"[}\])\s]*+")
_INFO = re.compile(r"[\w+\-.]*+")
_ROLE = re.compile(r"\w{0,32}+")
_TAG_NAME = re.compile(r"[^<>{}\n]*+")
_FIRST_KEY = re.compile(r"""(["'])(?:type|name|function|parameters|arguments|id)\1""")
_LONGEST_KEY = len('"parameters"')
_LONGEST_NAME = 128
_MOST_STRAYS = 4
_SHORTEST_CUT = 5
_LONGEST_HEAD = 1024
_JSON_HEAD = re.compile(
    r"""\{\s*+(?:"type"\s*+:\s*+"function"\s*+,\s*+)?"name"\s*+:\s*+"(?P<name>[^"\\]{1,128})"\s*+,"""
    r"""\s*+"(?:parameters|arguments)"\s*+:"""
)
_EXPLICIT = (CallSyntax.JSON, CallSyntax.FUNCTION_TAG)


@dataclass
class Outcome:
    """What became of a group: entries to report, then text; or the beginning of a program."""

    entries: list[Entry] = field(default_factory=list)
    text: str = ""
    tagged: bool = False
    code: bool = False


class Group:
    """Reads calls and what may stand between them, from the cursor on."""

    def __init__(
        self, reader: Reader, tools: Catalogue, where: Place, opening: Callable[[str, str], None]
    ) -> None:
        self._in = reader
        self._tools = tools
        self._where = where
        self._opening_call = opening
        self._head: str | None = ""
        self._entries: list[Entry] = []
        self._pieces: list[str] = []
        self._settled = 0
        self._fence = self._fenced = False
        self._rest = ""
        self._alone = where in (Place.SENTENCE, Place.COLON)
        """Whether nothing but calls may follow."""

    def read(self) -> Wait[Outcome]:
        """Read to the end of the group, as far as that takes."""
        reader = self._in
        reader.mark()
        if self._where is Place.START:
            yield from self._opening()
            if (yield from self._tag()):
                return Outcome(tagged=True)
        elif self._where is Place.TAGGED:
            yield from reader.skip(_SPACE)
            while (yield from self._tag()):
                self._pieces.clear()
                yield from reader.skip(_SPACE)
        while True:
            self._stash()
            char = yield from reader.ahead()
            last, self._settled = self._settled, 0
            found = yield from self._candidate(char)
            if found is None and self._head is None and not self._entries:
                found = [Broken(reader.held(), "the JSON call contradicts itself")]
            if found is None:
                self._settled = last
                return self._junk(char)
            self._entries += found
            if not self._settled:
                self._settle()
            if (yield from self._between()):
                return self._accepted(tagged=True) if self._meant() else self._rejected(tagged=True)
            if not (yield from reader.ahead()):
                return self._accepted() if self._meant() else self._rejected()

    # --- judging -----------------------------------------------------------------------------------------------

    def _stash(self) -> None:
        self._pieces.append(self._in.held())
        self._in.mark()

    def _settle(self) -> None:
        """All that was read so far belongs to calls; what follows is a gap or text again."""
        self._stash()
        self._settled = len(self._pieces)

    def _accepted(self, *, tagged: bool = False) -> Outcome:
        self._stash()
        return Outcome(self._entries, self._rest, tagged=tagged)

    def _rejected(self, *, tagged: bool = False) -> Outcome:
        self._stash()
        return Outcome(text="".join(self._pieces), tagged=tagged, code=self._where is Place.TAGGED)

    def _junk(self, char: str) -> Outcome:
        """The group is followed by something else."""
        if not self._entries or self._alone or not self._meant():
            return self._rejected()
        if self._where is Place.TAGGED:
            if not self._listed() and self._head is not None:
                return self._rejected()
        elif self._continues("".join(self._pieces[self._settled :]), char):
            return self._rejected()
        self._stash()
        return Outcome(self._entries, "".join(self._pieces[self._settled :]))

    @staticmethod
    def _continues(gap: str, char: str) -> bool:
        """Whether what follows goes on with a sentence in which the call was quoted."""
        return "\n" not in gap and (char.islower() or char in ".:)'\"`!?}")

    def _meant(self) -> bool:
        """Whether the names fit the place: the weaker the signs, the more a name must be that of a tool."""
        if self._where in (Place.START, Place.TAGGED):
            return not self._fenced or self._listed()
        if not self._tools.tools and self._where is Place.COLON:
            return all(isinstance(entry, Call) and entry.syntax in _EXPLICIT for entry in self._entries)
        return self._listed() and all(
            self._tools.knows(entry.name) or (not self._tools.tools and isinstance(entry, Call))
            for entry in self._entries
        )

    def _listed(self) -> bool:
        return all(
            self._tools.knows(entry.name)
            for entry in self._entries
            if isinstance(entry, Call) and entry.syntax is CallSyntax.PYTHONIC
        )

    # --- around and between calls ------------------------------------------------------------------------------

    def _opening(self) -> Wait[None]:
        """Step over what real outputs put before a call: space, leaked headers, emphasis, a fence."""
        reader = self._in
        while True:
            yield from reader.skip(_OPENING)
            if not (yield from self._header()):
                break
        if (yield from self._comes(FENCE)):
            yield from reader.skip(_INFO)
            yield from reader.skip(_SPACE)
            self._fence = self._fenced = self._alone = True

    def _between(self) -> Wait[bool]:
        """Step over what may stand between calls; True if a python tag, now behind the cursor, ended it."""
        reader = self._in
        while True:
            yield from reader.skip(_SEPARATORS)
            char = yield from reader.ahead()
            if char == "`" and self._fenced and (yield from self._comes(FENCE)):
                if not self._fence:
                    yield from reader.skip(_INFO)
                self._fence = not self._fence
            elif char == "<":
                if (yield from self._tag()):
                    return True
                if not (
                    (yield from self._comes(_FUNCTION_END))
                    or (yield from self._comes(PYTHON_END))
                    or (yield from self._header())
                ):
                    return False
            else:
                return False

    def _tag(self) -> Wait[bool]:
        for tag in TAGS:
            if (yield from self._comes(tag, keep=False)):
                return True
        return False

    def _header(self) -> Wait[bool]:
        reader = self._in
        if not (yield from self._comes(_HEADER)):
            return False
        yield from reader.skip(_ROLE)
        return (yield from self._comes(_HEADER_END))

    def _comes(self, text: str, *, keep: bool = True) -> Wait[bool]:
        """Step over this text if it comes next; with ``keep`` it counts as read."""
        if not (yield from self._in.comes(text)):
            return False
        if not keep:
            self._stash()
        self._in.pos += len(text)
        if not keep:
            self._in.mark()
        return True

    # --- calls -------------------------------------------------------------------------------------------------

    def _candidate(self, char: str) -> Wait[list[Entry] | None]:
        if char == "{":
            return (yield from self._object())
        if char == "[":
            return (yield from self._bracket())
        if char == "<":
            return (yield from self._function_tag())
        if char.isalpha() or char == "_":
            return (yield from self._named())
        return None

    def _first_key(self) -> Wait[str | None]:
        """Step over ``{``; the quote of the first key if the key is one of a call's."""
        reader = self._in
        reader.pos += 1
        yield from reader.skip(_SPACE)
        if (yield from reader.ahead()) not in ('"', "'"):
            return None
        ahead = yield from reader.ahead(_LONGEST_KEY)
        return ahead[0] if _FIRST_KEY.match(ahead) else None

    def _object(self) -> Wait[list[Entry] | None]:
        quote = yield from self._first_key()
        return (yield from self._json(["}"], quote)) if quote else None

    def _json(self, stack: list[str], quote: str) -> Wait[list[Entry] | None]:
        reader = self._in
        sure = self._where is Place.TAGGED and stack == ["}"] and quote == '"' and not self._entries
        if sure:
            self._head = reader.held()
            reader.watch = self._watch
        balance = yield from reader.balanced(stack, python=quote == "'")
        reader.watch = None
        if sure and self._head is not None:
            self._head = ""
            self._watch(reader.held())
        if balance is not Balance.CLOSED:
            if balance is Balance.DEEP:
                yield from reader.rest()
            yield from reader.skip(_CLOSERS)
            return self._unclosed(broken_json(reader.held(), balance.value), balance)
        text = reader.held()
        found = json_calls(text, self._tools)
        if found is None:
            return None
        self._settle()
        yield from reader.skip(_SPACE)
        if (yield from reader.ahead()) == "}":
            self._settled = 0
            yield from reader.skip(_CLOSERS)
            return [Broken(text + reader.held(), "the JSON call has a brace too many", found[0].name)]
        return found

    def _watch(self, piece: str) -> None:
        """Announce a JSON call behind the tag as soon as it can be nothing else, then its further text."""
        if self._head is None:
            self._opening_call("", piece)
        elif len(self._head) < _LONGEST_HEAD:
            self._head += piece
            if match := _JSON_HEAD.match(self._head):
                self._opening_call(match.group("name"), self._head)
                self._head = None

    def _unclosed(self, found: list[Entry] | None, balance: Balance) -> list[Entry] | None:
        """A text cut off behind the tag is a broken call even where its shape is not yet plain: it never runs."""
        if found is None and self._where is Place.TAGGED and balance is Balance.OPEN:
            return [Broken(self._in.held(), f"the call cannot be read: {balance.value}")]
        return found

    def _bracket(self) -> Wait[list[Entry] | None]:
        reader = self._in
        for _ in range(_MOST_STRAYS):
            self._stash()
            reader.pos += 1
            yield from reader.skip(_SPACE)
            char = yield from reader.ahead()
            if char != "[" or self._where is Place.TAGGED:
                break
        if char == "{":
            quote = yield from self._first_key()
            return (yield from self._json(["]", "}"], quote)) if quote else None
        if char.isalpha() or char == "_":
            return (yield from self._list())
        return None

    def _list(self) -> Wait[list[Entry] | None]:
        reader = self._in
        word = yield from self._word()
        reader.pos += len(word)
        if self._tools.knows(word):
            yield from reader.skip(_SPACE)
        if (yield from reader.ahead()) != "(":
            return None
        reader.pos += 1
        stack = ["]", ")"]
        balance = yield from reader.balanced(stack, python=True)
        text = reader.held()
        self._alone |= not self._tools.tools and self._where is not Place.TAGGED
        if balance is Balance.CLOSED:
            found = pythonic_calls(text, self._tools)
            return None if found and self._may_be_code(found) else found
        if (
            balance is Balance.OPEN
            and stack == ["]"]
            and self._tools.knows(word)
            and text.rstrip().endswith(")")
        ):
            return pythonic_calls(text + "]", self._tools, text)
        if self._where is Place.TAGGED and not (self._tools.knows(word) or balance is Balance.OPEN):
            return None
        yield from reader.skip(_CLOSERS)
        return broken_list(reader.held(), balance.value, self._tools)

    def _may_be_code(self, found: list[Entry]) -> bool:
        return self._where is Place.TAGGED and any(
            isinstance(entry, Broken) and not self._tools.knows(entry.name) for entry in found
        )

    def _named(self) -> Wait[list[Entry] | None]:
        reader = self._in
        word = (
            yield from self._word() if self._where is Place.TAGGED else reader.word(self._tools.begins_name)
        )
        base = word.removesuffix(".call")
        if self._where is Place.TAGGED and len((yield from reader.ahead(len(word) + 1))) == len(word):
            return self._cut_off(word)
        if base != word and (self._tools.knows(base) or self._where is Place.TAGGED):
            reader.pos += len(word)
            return (yield from self._builtin(known=self._tools.knows(base)))
        if not self._tools.knows(word) or self._where not in (Place.START, Place.TAGGED):
            return None
        reader.pos += len(word)
        if (yield from reader.ahead()) != "(":
            return None
        reader.pos += 1
        balance = yield from reader.balanced([")"], python=True)
        text = reader.held()
        self._alone = self._alone or self._where is Place.START
        if balance is Balance.CLOSED:
            return pythonic_calls(f"[{text}]", self._tools, text)
        return broken_list(text, balance.value, self._tools)

    def _cut_off(self, word: str) -> list[Entry] | None:
        """A message that ends within the name of a built-in call was cut off; a shorter word may be a variable."""
        name = next((name for name in BUILTIN_TOOLS if f"{name}.call".startswith(word)), None)
        if name is None or len(word) < _SHORTEST_CUT:
            return None
        self._in.pos += len(word)
        return [Broken(word, f"the call of {name} is incomplete", name)]

    def _word(self) -> Wait[str]:
        return (yield from self._in.word(lambda word: len(word) < _LONGEST_NAME))

    def _builtin(self, *, known: bool) -> Wait[list[Entry] | None]:
        reader = self._in
        if (yield from reader.ahead()) != "(":
            return None
        yield from reader.rest()
        entries, rest = builtin_calls(reader.held(), self._tools)
        broken = any(isinstance(entry, Broken) for entry in entries)
        if self._where is Place.TAGGED:
            if not known and (broken or rest):
                return None
        elif rest and (
            self._alone or self._continues(rest[: len(rest) - len(rest.lstrip())], rest.lstrip()[:1])
        ):
            return None
        self._rest = rest
        return entries

    def _function_tag(self) -> Wait[list[Entry] | None]:
        reader = self._in
        if not (yield from self._comes(FUNCTION)):
            return None
        yield from reader.skip(_TAG_NAME)
        head = reader.held()
        name = head[len(FUNCTION) :].strip(" \t\"'")
        if not name or len(name) > _LONGEST_NAME:
            return None
        if not (yield from self._comes(">")) and (yield from reader.ahead()) != "{":
            return (
                None
                if (yield from reader.ahead())
                else [Broken(head, "the function tag is incomplete", name)]
            )
        yield from reader.skip(_SPACE)
        self._stash()
        if (yield from self._comes(_FUNCTION_END)):
            return [self._tools.call(name, {}, CallSyntax.FUNCTION_TAG, self._pieces[-1] + _FUNCTION_END)]
        return (yield from self._tag_arguments(name, self._pieces[-1]))

    def _tag_arguments(self, name: str, head: str) -> Wait[list[Entry] | None]:
        reader = self._in
        if not (yield from self._comes("{")):
            reason = "no arguments follow" if (yield from reader.ahead()) else Balance.OPEN.value
            return [Broken(head, f"the call of {name} cannot be read: {reason}", name)]
        yield from reader.skip(_SPACE)
        python = (yield from reader.ahead()) == "'"
        balance = yield from reader.balanced(["}"], python=python)
        arguments = reader.held()
        if balance is not Balance.CLOSED:
            return [Broken(head + arguments, f"the call of {name} cannot be read: {balance.value}", name)]
        self._settle()
        yield from reader.skip(_SPACE)
        closed = yield from self._comes(_FUNCTION_END)
        raw = head + arguments + (reader.held() if closed else "")
        if closed:
            self._settle()
        return [tag_call(name, arguments, raw, self._tools)]
