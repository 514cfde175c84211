"""The grammar of an assistant message, as a coroutine over a reader."""

import re

from ..messages import CODE_INTERPRETER
from .context import TAIL, Place, place
from .decode import Broken, Call, Catalogue, Entry, one_json_call
from .events import ArgumentsDelta, CallDone, CallOpened, CallSyntax, Malformed, ParseEvent, TextDelta
from .group import FENCE, FUNCTION, PYTHON_END, TAGS, Group
from .reader import Reader, Wait

_SPACE = re.compile(r"\s*+")
_STOP = re.compile(r"[<{\[`\n.!?:…。！？：]")
_LONGEST_OPENER = max(map(len, (*TAGS, FUNCTION, FENCE)))
_CALL_HEAD = re.compile(r"""\{\s*+"(?:type|name|function|parameters|arguments|id)\"""")
_LONGEST_HEAD = len('{"parameters"')
_WHOLE_FENCE = re.compile(r"\s*+```[\w+\-.]*+[ \t]*+\n?(?P<code>.*?)\n?```\s*+", re.DOTALL)


class Grammar:
    """Turns the text of one message into events; ``advance`` is fed, the rest is the grammar."""

    def __init__(self, tools: Catalogue, *, code: bool) -> None:
        self.ended = False
        self._tools = tools
        self._code_offered = code
        self._in = Reader()
        self._events: list[ParseEvent] = []
        self._text_parts: list[str] = []
        self._tail = ""
        self._fenced = False
        self._count = 0
        self._announced: int | None = None
        """Characters of the call that was opened before it was complete, as far as they were passed on."""
        self._first: list[str] | None = []
        """A message that so far may be one JSON call and nothing else: it is read once that is plain."""
        self._is_call = self._closes = False
        """Whether its first key is one of a call's, and a brace was closed in it."""
        self._in_prose = False
        """Whether all that was read has been passed on, and only prose can follow but for what ``_STOP`` finds."""
        self._run = self._message()

    def advance(self, text: str, *, last: bool) -> list[ParseEvent]:
        """Take the next piece of text and return the events that it completes."""
        if self._first is not None:
            self._first.append(text)
            if not last and self._waits(text):
                return []
            text, self._first = "".join(self._first), None
            if last and (found := self._one_call(text)):
                self.ended = True
                return found
        elif self._in_prose and not last and text and not _STOP.search(text):
            self._in.pass_over(text)
            self._tail = (self._tail + text[-TAIL:])[-TAIL:]
            return [TextDelta(text)]
        self._in.push(text)
        if last:
            self.ended = True
            self._in.close()
        next(self._run, None)
        self._join_text()
        events, self._events = self._events, []
        return events

    # --- a message that is one JSON call ---------------------------------------------------------------------------

    def _waits(self, piece: str) -> bool:
        """Whether the message may be one JSON call: then nothing of it is certain before its end."""
        assert self._first is not None
        if not self._is_call:
            piece = "".join(self._first)
            if len(piece) < _LONGEST_HEAD:
                return piece[:1] in ("", "{") and "}" not in piece
            if not _CALL_HEAD.match(piece):
                return False
            self._is_call = True
        if not self._closes:
            _, brace, piece = piece.partition("}")
            self._closes = bool(brace)
        return not self._closes or not piece.strip("}")

    def _one_call(self, text: str) -> list[ParseEvent] | None:
        """The events of a message that is one JSON call and nothing else; None where it is not."""
        found = one_json_call(text, self._tools) if text[-1:] == "}" and _CALL_HEAD.match(text) else None
        if found and isinstance(call := found[0], Call):
            return [
                CallOpened(0, call.syntax, call.name),
                ArgumentsDelta(0, call.raw),
                CallDone(0, call.name, call.arguments, call.syntax, call.raw),
            ]
        if found:
            self._emit(found)
        return self._events or None

    # --- what goes out -----------------------------------------------------------------------------------------

    def _text(self, text: str) -> None:
        if text:
            self._text_parts.append(text)
            self._tail = (self._tail + text[-TAIL:])[-TAIL:]

    def _join_text(self) -> None:
        if self._text_parts:
            self._events.append(TextDelta("".join(self._text_parts)))
            self._text_parts.clear()

    def _flush(self) -> None:
        self._text(self._in.held())
        self._in.mark()

    def _emit(self, entries: list[Entry]) -> None:
        if not entries:
            return
        self._join_text()
        self._tail = "\n"
        for entry in entries:
            sent, self._announced = self._announced, None
            if sent is None and isinstance(entry, Call):
                self._open(entry.syntax, entry.name)
            if (sent is not None or isinstance(entry, Call)) and (rest := entry.raw[sent or 0 :]):
                self._events.append(ArgumentsDelta(self._count, rest))
            if isinstance(entry, Broken):
                self._events.append(Malformed(entry.raw, entry.reason))
            else:
                self._done(entry)

    def _announce(self, name: str, text: str) -> None:
        if self._announced is None:
            self._open(CallSyntax.JSON, name)
        if text:
            self._events.append(ArgumentsDelta(self._count, text))
        self._announced = (self._announced or 0) + len(text)

    def _open(self, syntax: CallSyntax, name: str) -> None:
        self._join_text()
        self._events.append(CallOpened(self._count, syntax, name))

    def _done(self, call: Call) -> None:
        self._events.append(CallDone(self._count, call.name, call.arguments, call.syntax, call.raw))
        self._count += 1

    # --- text --------------------------------------------------------------------------------------------------

    def _message(self) -> Wait[None]:
        where: Place | None = Place.START
        while where is not None:
            outcome = yield from Group(self._in, self._tools, where, self._announce).read()
            self._emit(outcome.entries)
            if outcome.code:
                yield from self._code(outcome.text)
                return
            self._text(outcome.text)
            if outcome.text.count(FENCE) % 2:
                self._fenced = not self._fenced
            where = Place.TAGGED if outcome.tagged else (yield from self._prose())

    def _prose(self) -> Wait[Place | None]:
        """Pass text on until something may be a call; None at the end of the message."""
        reader = self._in
        while True:
            match = _STOP.search(reader.buffer, reader.pos)
            if match is None:
                reader.pos = len(reader.buffer)
                self._flush()
                self._in_prose = True
                more = yield from reader.more()
                self._in_prose = False
                if not more:
                    return None
                continue
            reader.pos = match.start()
            if len(reader.buffer) - reader.pos < _LONGEST_OPENER:
                self._flush()
            char = match.group()
            where: Place | None = None
            if char == "`":
                yield from self._backticks()
            elif char == "<" and (yield from self._python_tag()):
                where = Place.TAGGED
            elif char in "<{[":
                where = yield from self._place(FUNCTION if char == "<" else char)
            else:
                reader.pos += 1
                where = yield from self._builtin_place()
            if where is not None:
                return where

    def _python_tag(self) -> Wait[bool]:
        for tag in TAGS:
            if (yield from self._in.comes(tag)):
                self._flush()
                self._in.pos += len(tag)
                self._in.mark()
                return True
        return False

    def _place(self, opener: str) -> Wait[Place | None]:
        """The place of a call that the character at the cursor may open; else the cursor steps over it."""
        before = self._in.before()
        if not self._fenced and (not before or before.isspace()):
            self._flush()
            where = place(self._tail)
            if where is not None and (yield from self._in.comes(opener)):
                return where
        self._in.pos += 1
        return None

    def _backticks(self) -> Wait[None]:
        if (yield from self._in.comes(FENCE)):
            self._fenced = not self._fenced
            self._in.pos += len(FENCE)
        else:
            self._in.pos += 1

    def _builtin_place(self) -> Wait[Place | None]:
        """Behind the end of a line or a sentence: the place of a built-in call if the name of one comes."""
        reader = self._in
        self._flush()
        while (yield from reader.ahead()).isspace():
            space = _SPACE.match(reader.buffer, reader.pos)
            reader.pos = space.end() if space else reader.pos
            self._flush()
        if self._fenced or not reader.before().isspace():
            return None
        word = yield from reader.word(self._tools.begins_name)
        if not self._tools.knows(word.removesuffix(".call")) or not word.endswith(".call"):
            return None
        self._flush()
        return place(self._tail)

    # --- code --------------------------------------------------------------------------------------------------

    def _code(self, begun: str) -> Wait[None]:
        """All that is left of the message is a program; where it need not be looked at as a whole, it streams."""
        reader = self._in
        head = begun.lstrip() or (yield from reader.ahead())
        streams = self._code_offered and bool(head) and not head.startswith(FENCE[0])
        parts: list[str] = []
        if streams:
            self._open(CallSyntax.CODE, CODE_INTERPRETER)
        while True:
            reader.pos = len(reader.buffer)
            parts.append(begun + reader.held())
            reader.mark()
            begun = ""
            if streams and parts[-1]:
                self._events.append(ArgumentsDelta(self._count, parts[-1]))
            if not (yield from reader.more()):
                break
        self._finish_code("".join(parts), opened=streams)

    def _finish_code(self, raw: str, *, opened: bool) -> None:
        code = raw.removesuffix(PYTHON_END)
        if fence := _WHOLE_FENCE.fullmatch(code):
            code = fence.group("code")
        call = Call(CODE_INTERPRETER, {"code": code}, CallSyntax.CODE, raw)
        if opened:
            self._done(call)
        elif not code.strip():
            self._emit([Broken(raw, "nothing follows the python tag")])
        elif not self._code_offered:
            self._emit([Broken(raw, "this is code, and no tool that runs code is offered")])
        else:
            self._emit([call])
