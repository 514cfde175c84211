"""Python and JSON literals, read without evaluating anything.

``ast.literal_eval`` is not used: it takes no JSON literals (``true``), gives up on names that are no Python
identifiers (``weather-forecast``), and its cost and failures on hostile text are those of the compiler.
"""

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 100
"""Nesting above which a value is refused; deeper text is either hostile or a runaway generation."""


class LiteralError(ValueError):
    """The text is not one literal; the message says why."""


_TOKEN = re.compile(
    r"""\s*+(?:
      (?P<string>[rRuUbBfF]{0,2}(?:\"{3}(?:[^"\\]|\\.|"(?!""))*+\"{3}|'{3}(?:[^'\\]|\\.|'(?!''))*+'{3}
                 |"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'))
     |(?P<number>0[xX][0-9a-fA-F]++|0[oO][0-7]++|0[bB][01]++
                 |(?:[0-9][0-9_]*+(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)
     |(?P<name>[^\W\d]\w*+(?:[.\-][^\W\d]\w*+)*+)
     |(?P<op>\*\*|//|[-+*/%(){}\[\],:=])
    )""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[0-7]{1,3}|\r\n|.)",
    re.DOTALL,
)
_SIMPLE = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "\n": "", "\r\n": "",
}  # fmt: skip


def _escape(match: re.Match[str]) -> str:
    body = match.group()[1:]
    if body in _SIMPLE:
        return _SIMPLE[body]
    kind = body[0]
    if kind in "uUx" and len(body) > 1:
        if len(body) == 11:  # a surrogate pair, as JSON writes characters beyond U+FFFF
            return chr(0x10000 + ((int(body[1:5], 16) - 0xD800) << 10) + int(body[7:], 16) - 0xDC00)
        code = int(body[1:], 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise LiteralError("an escape names no character")
        return chr(code)
    if kind in "01234567":
        return chr(int(body, 8))
    return match.group()


def unescape(text: str) -> str:
    """Resolve the escapes of a Python string body; unknown ones stay as written, as in Python."""
    return _ESCAPE.sub(_escape, text) if "\\" in text else text


def _string(token: str) -> str:
    quote = min(i for i in (token.find('"'), token.find("'")) if i >= 0)
    prefix, width = token[:quote].lower(), 3 if token[quote : quote + 3] in ('"""', "'''") else 1
    if width == 3 and len(token) - quote < 6:
        width = 1
    body = token[quote + width : -width]
    if "b" in prefix:
        raise LiteralError("bytes are no argument")
    if "f" in prefix and "{" in body:
        raise LiteralError("a formatted string is no literal")
    return body if "r" in prefix else unescape(body)


def _number(token: str) -> int | float:
    try:
        if token[:2].lower() in ("0x", "0o", "0b"):
            return int(token, 0)
        if token.replace("_", "").isdigit():
            return int(token)
        return finite(token)
    except LiteralError:
        raise
    except ValueError as error:
        raise LiteralError(f"{token[:20]} is no usable number") from error


def finite(text: str) -> float:
    """A float from its text; raises LiteralError where it overflows to infinity or is not a number."""
    value = float(text)
    if not math.isfinite(value):
        raise LiteralError(f"{text[:20]} is not a finite number")
    return value


def _refuse(text: str) -> NoReturn:
    raise LiteralError(f"{text} is not JSON")


_JSON = json.JSONDecoder(parse_float=finite, parse_constant=_refuse)


def json_value(text: str) -> Any:
    """One strict JSON document (RFC 8259); raises LiteralError, also for NaN, infinities and deep nesting.

    Half of a surrogate pair is refused too: what holds one cannot be written as UTF-8 later.
    """
    try:
        # ``decode`` looks for space around the document, which is seldom there.
        value, end = _JSON.raw_decode(text) if text[:1] == "{" else (None, -1)
        if end != len(text):
            value = _JSON.decode(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except LiteralError:
        raise
    except (ValueError, RecursionError) as error:
        raise LiteralError(f"not valid JSON: {error}") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _deep(value):
        raise LiteralError("nested too deeply")
    return value


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, dict | list)
        ]
        level = [item for items in inner for item in items]
        if not level:
            return False
    return True


class Literals:
    """A reader of literals over one text; every method takes up where the last one stopped."""

    def __init__(self, text: str, start: int = 0) -> None:
        self.text = text
        self.pos = self.last_end = start
        self._depth = 0
        self.kind: str | None = None
        self.token = ""
        self.advance()

    def advance(self) -> None:
        """Step to the next token; ``kind`` is None at the end of the text."""
        self.last_end = self.pos
        match = _TOKEN.match(self.text, self.pos)
        if match is None:
            if self.text[self.pos :].strip():
                raise LiteralError(f"unexpected {self.text[self.pos :].strip()[:12]!r}")
            self.kind, self.token = None, ""
            return
        self.pos = match.end()
        self.kind = match.lastgroup
        self.token = match.group(self.kind or 0)

    def accept(self, op: str) -> bool:
        """Step over the operator if it comes next."""
        if self.kind == "op" and self.token == op:
            self.advance()
            return True
        return False

    def expect(self, op: str) -> None:
        """Step over the operator; raises LiteralError if another token comes next."""
        if not self.accept(op):
            raise LiteralError(
                f"expected {op!r}, found {self.token[:20]!r}" if self.kind else f"missing {op!r}"
            )

    def name(self) -> str:
        """Step over a name, dotted or hyphenated ones included."""
        if self.kind != "name":
            raise LiteralError(f"expected a name, found {self.token[:20]!r}")
        name = self.token
        self.advance()
        return name

    def value(self) -> Any:
        """One literal; sums and products of numbers are worked out, adjacent strings are joined."""
        left = self._term()
        while self.kind == "op" and self.token in "+-":
            sign = self.token
            self.advance()
            left = _combine(sign, left, self._term())
        return left

    def _term(self) -> Any:
        left = self._atom()
        while self.kind == "op" and self.token in ("*", "/"):
            sign = self.token
            self.advance()
            left = _combine(sign, left, self._atom())
        return left

    def _atom(self) -> Any:
        kind, token = self.kind, self.token
        if kind == "string":
            return self._strings()
        if kind == "number":
            self.advance()
            return _number(token)
        if kind == "name":
            if token not in _CONSTANTS:
                raise LiteralError(f"{token[:40]} is a name, not a value")
            self.advance()
            return _CONSTANTS[token]
        if kind == "op" and token in "+-([{":
            return self._nested(token)
        raise LiteralError(f"expected a value, found {token[:20]!r}" if kind else "the value is missing")

    def _nested(self, token: str) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LiteralError("nested too deeply")
        self.advance()
        if token in "+-":
            value: Any = _combine(token, 0, self._atom())
        elif token == "[":
            value = self._items("]")[0]
        elif token == "(":
            items, commas = self._items(")")
            value = items if commas or not items else items[0]
        else:
            value = self._braces()
        self._depth -= 1
        return value

    def _strings(self) -> str:
        parts = []
        while self.kind == "string":
            parts.append(_string(self.token))
            self.advance()
        return "".join(parts)

    def _items(self, closer: str) -> tuple[list[Any], bool]:
        items: list[Any] = []
        comma = False
        while not self.accept(closer):
            if items and not comma:
                raise LiteralError(f"expected ',' or {closer!r}, found {self.token[:20]!r}")
            items.append(self.value())
            comma = self.accept(",")
        return items, comma or len(items) > 1

    def _braces(self) -> Any:
        result: dict[Any, Any] = {}
        while not self.accept("}"):
            if self.kind == "name" and self.token not in _CONSTANTS:
                key: Any = self.name()
            else:
                key = self.value()
            if not self.accept(":"):
                self.expect("=")
            if isinstance(key, list | dict):
                raise LiteralError("a container is no key")
            # llama-models' own encoder writes a dict argument as {k=v}
            result[key if isinstance(key, str) else json.dumps(key)] = self.value()
            if not self.accept(","):
                self.expect("}")
                break
        return result


def _combine(sign: str, left: Any, right: Any) -> Any:
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    for side in (left, right):
        if isinstance(side, bool) or not isinstance(side, int | float):
            raise LiteralError(f"{sign!r} works on numbers only")
    try:
        if sign == "+":
            result = left + right
        elif sign == "-":
            result = left - right
        elif sign == "*":
            result = left * right
        else:
            result = left / right
    except ArithmeticError as error:
        raise LiteralError(str(error)) from error
    if isinstance(result, int) and result.bit_length() > 4096:
        raise LiteralError("a number is too large")
    return result if isinstance(result, int) else finite(repr(result))


def literal(text: str) -> Any:
    """One Python literal (JSON's constants allowed); raises LiteralError for anything else."""
    reader = Literals(text)
    value = reader.value()
    if reader.kind is not None:
        raise LiteralError(f"unexpected {reader.token[:20]!r}")
    return value
