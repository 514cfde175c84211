"""From the complete text of a call to its name and arguments, one function per syntax."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..coercion import coerce_arguments
from ..messages import BUILTIN_TOOLS, CODE_INTERPRETER, ToolSpec
from .events import CallSyntax
from .literals import LiteralError, Literals, json_value, literal, unescape


@dataclass(slots=True)
class Call:
    """A call that was read, before it is given its place among the others."""

    name: str
    arguments: dict[str, Any]
    syntax: CallSyntax
    raw: str


@dataclass(slots=True)
class Broken:
    """A text that has the shape of a call and is none; ``name`` is the tool it was meant for, where it is plain."""

    raw: str
    reason: str
    name: str | None = None


Entry = Call | Broken


@dataclass
class Catalogue:
    """The tools on offer: which names are calls where the text alone does not say, and their schemas."""

    tools: Sequence[ToolSpec]
    coerce: bool = True
    schemas: dict[str, dict[str, Any]] = field(init=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.schemas = {tool.name: tool.parameters for tool in self.tools}
        self.names = tuple({*self.schemas, *BUILTIN_TOOLS})

    def knows(self, name: str | None) -> bool:
        """Whether a tool of that name is offered; Meta's built-in names always count."""
        return name in self.schemas or name in BUILTIN_TOOLS

    def begins_name(self, word: str) -> bool:
        """Whether more text could make the word a known name, or one with ``.call`` behind it."""
        return any(name.startswith(word) or f"{name}.call".startswith(word) for name in self.names)

    def properties(self, name: str) -> list[str]:
        """The tool's parameters in the order of its schema; for the built-in tools, their one parameter."""
        schema = self.schemas.get(name)
        found = list(schema["properties"]) if schema and isinstance(schema.get("properties"), dict) else []
        if not found and name in BUILTIN_TOOLS:
            return ["code" if name == CODE_INTERPRETER else "query"]
        return found

    def call(self, name: str, arguments: dict[str, Any], syntax: CallSyntax, raw: str) -> Call:
        """A call with its arguments coerced."""
        schema = self.schemas.get(name)
        if schema and self.coerce:
            arguments = coerce_arguments(arguments, schema)
        return Call(name, arguments, syntax, raw)


# --- JSON ------------------------------------------------------------------------------------------------------

_NAME_KEY = re.compile(r"""["'](?:name|function)["']\s*+:\s*+["'](?P<name>[^"'\\]++)""")
_ARGUMENTS_KEY = re.compile(
    r"""["'](?:parameters|arguments)["']\s*+:|["']type["']\s*+:\s*+["']function["']"""
)


def json_calls(text: str, tools: Catalogue) -> list[Entry] | None:
    """The calls in a JSON object or array, or in one written as a Python literal; None where it is neither's call.

    A text is read as Python only if its first quote is a single one, so that broken JSON is not talked into life.
    """
    try:
        value = literal(text) if _first_quote(text) == "'" else json_value(text)
    except LiteralError as error:
        return broken_json(text, str(error))
    return _json_entries(value, text, tools)


def one_json_call(text: str, tools: Catalogue) -> list[Entry] | None:
    """The call in a whole JSON object; None where the text is none, or no call."""
    try:
        value = json_value(text)
    except LiteralError:
        return None
    return _json_entries(value, text, tools)


def _json_entries(value: Any, text: str, tools: Catalogue) -> list[Entry] | None:
    if not isinstance(value, list):
        only = _json_call(value, text, tools)
        return None if only is None else [only]
    entries = [_json_call(item, text, tools) for item in value]
    found = [entry for entry in entries if entry is not None]
    if not found:
        return None
    if len(found) < len(entries):
        return [Broken(text, "not every element of the array is a call")]
    return found


def broken_json(text: str, reason: str) -> list[Entry] | None:
    """What a JSON text that cannot be read is: a broken call if it has the keys of one, else None."""
    name = _NAME_KEY.search(text)
    if name is None or _ARGUMENTS_KEY.search(text) is None:
        return None
    return [Broken(text, f"the JSON call cannot be read: {reason}", name.group("name"))]


def _first_quote(text: str) -> str:
    return next((char for char in text if char in "\"'"), "")


def _json_call(value: Any, raw: str, tools: Catalogue) -> Entry | None:
    if not isinstance(value, dict):
        return None
    typed = value.get("type") == "function"
    if "name" not in value and isinstance(value.get("function"), dict):
        value, typed = value["function"], True
    name = value.get("name", value.get("function"))
    if not isinstance(name, str) or not name:
        return None
    key = "parameters" if "parameters" in value else "arguments"
    if key not in value:
        bare = tools.knows(name) and value.keys() <= {"name", "type", "id", "function"}
        return tools.call(name, {}, CallSyntax.JSON, raw) if typed or bare else None
    arguments = _object(value[key])
    if arguments is None:
        return Broken(raw, f"{key} must be an object", name)
    return tools.call(name, arguments, CallSyntax.JSON, raw)


def _object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        for read in (json_value, literal):
            try:
                value = read(value)
                break
            except LiteralError:
                continue
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


# --- <function=name>{...}</function> -----------------------------------------------------------------------------


def tag_call(name: str, arguments: str, raw: str, tools: Catalogue) -> Entry:
    """The call of a function tag; the arguments may be a Python dict, as Llama 3.1 sometimes writes them."""
    try:
        value = literal(arguments) if _first_quote(arguments) == "'" else json_value(arguments)
    except LiteralError as error:
        return Broken(raw, f"the arguments of {name} cannot be read: {error}", name)
    return tools.call(name, value, CallSyntax.FUNCTION_TAG, raw)


# --- [name(key=value), ...] ------------------------------------------------------------------------------------

_LIST_HEAD = re.compile(r"\[?\s*+(?P<name>[\w.\-]++)\s*+\(\s*+(?:\)|[\w\-]++\s*+=|\*\*)")


def pythonic_calls(text: str, tools: Catalogue, raw: str | None = None) -> list[Entry] | None:
    """The calls of a bracketed list; None if it is some other list. Nothing runs unless all elements are calls."""
    try:
        reader = Literals(text)
        reader.expect("[")
        return list(_elements(reader, tools, text if raw is None else raw))
    except LiteralError as error:
        return broken_list(text if raw is None else raw, str(error), tools)


def broken_list(text: str, reason: str, tools: Catalogue) -> list[Entry] | None:
    """What a list that cannot be read is: a broken call if it begins like one, else None."""
    head = _LIST_HEAD.match(text)
    name = head.group("name") if head else text.lstrip("[ \n\t").partition("(")[0].strip()
    if not (tools.knows(name) or (head and not tools.tools)):
        return None
    return [Broken(text, f"the call cannot be read: {reason}", name)]


def _elements(reader: Literals, tools: Catalogue, raw: str) -> Iterator[Entry]:
    count = 0
    while not reader.accept("]"):
        name = reader.name()
        reader.expect("(")
        arguments = _keywords(reader, ")", name, tools)
        yield tools.call(name, arguments, CallSyntax.PYTHONIC, raw)
        count += 1
        if not reader.accept(","):
            reader.expect("]")
            break
    if reader.kind is not None or not count:
        raise LiteralError(f"unexpected {reader.token[:20]!r}")


def _keywords(reader: Literals, closer: str, name: str, tools: Catalogue) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    positional: list[Any] = []
    while not reader.accept(closer):
        if reader.accept("**"):
            extra = reader.value()
            if not isinstance(extra, dict):
                raise LiteralError("only a dict can be unpacked")
            arguments.update(extra)
        elif (key := _keyword(reader)) is not None:
            if key in arguments:
                raise LiteralError(f"{key} is given twice")
            arguments[key] = reader.value()
        else:
            positional.append(reader.value())
        if not reader.accept(","):
            reader.expect(closer)
            break
    return _placed(positional, name, tools) | arguments if positional else arguments


def _keyword(reader: Literals) -> str | None:
    if reader.kind != "name":
        return None
    state = reader.pos, reader.kind, reader.token
    key = reader.name()
    if reader.accept("="):
        return key
    reader.pos, reader.kind, reader.token = state
    return None


def _placed(values: list[Any], name: str, tools: Catalogue) -> dict[str, Any]:
    order = tools.properties(name)
    if len(values) == 1 and isinstance(values[0], dict) and values[0] and values[0].keys() <= set(order):
        return dict(values[0])
    if len(values) > len(order):
        raise LiteralError(f"the parameters of {name} must be named")
    return dict(zip(order, values, strict=False))


# --- name.call(query="...") ------------------------------------------------------------------------------------

_HEAD = re.compile(r"[\s;,]*+(?P<name>\w[\w.\-]*)\.call\s*+\(")
_OPEN = re.compile(r"""\s*+(?:(?P<key>[^\W\d]\w*+)\s*+=\s*+)?(?P<quote>["'])""")
_CLOSE = {quote: re.compile(quote + r"\s*+(?:,\s*+)?\)") for quote in "\"'"}
_AFTER = re.compile(r"(?:\s|```|\*\*|\]|</function>|<\|python_end\|>)*+\Z")
_NEXT_KEY = {quote: re.compile(rf"{quote}\s*+,\s*+(?P<key>[^\W\d]\w*+)\s*+=\s*+{quote}") for quote in "\"'"}
_STRINGS = re.compile(r""""(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'""", re.DOTALL)


def builtin_calls(text: str, tools: Catalogue) -> tuple[list[Entry], str]:
    """The built-in calls at the start of a text that reaches to the end of the message, and what follows them.

    The value is inserted raw by the reference encoders, so quotes in it end nothing: a value ends where its quote
    and parenthesis are followed by the end of the message or by another call.
    """
    entries: list[Entry] = []
    pos = 0
    while head := _HEAD.match(text, pos):
        name = head.group("name")
        opening = _OPEN.match(text, head.end())
        found = _raw_value(text, opening, name, tools) if opening else None
        if found is None:
            found = _typed_value(text, head.end(), name, tools)
        if found is None:
            entries.append(Broken(text[pos:], f"the call of {name} is incomplete or oddly quoted", name))
            return entries, ""
        arguments, end = found
        entries.append(tools.call(name, arguments, CallSyntax.BUILTIN, text[pos:end].strip()))
        pos = end
    rest = text[pos:]
    return entries, "" if _AFTER.fullmatch(rest) else rest


def _raw_value(
    text: str, opening: re.Match[str], name: str, tools: Catalogue
) -> tuple[dict[str, Any], int] | None:
    quote = opening.group("quote")
    closers = _CLOSE[quote].finditer(text, opening.end())
    first = None
    seen = 0
    for close in closers:
        seen += 1
        first = first or close
        if _AFTER.match(text, close.end()) or _HEAD.match(text, close.end()):
            return _raw_arguments(text[opening.end() : close.start()], opening, name, tools), close.end()
    if first is None or seen > 1:
        return None
    body = text[opening.end() : first.start()]
    if _quotes(body, quote) == "raw":
        return None
    return _raw_arguments(body, opening, name, tools), first.end()


def _raw_arguments(body: str, opening: re.Match[str], name: str, tools: Catalogue) -> dict[str, Any]:
    quote, order = opening.group("quote"), tools.properties(name)
    key = opening.group("key") or (order[0] if order else "query")
    arguments: dict[str, Any] = {}
    start = 0
    for match in _NEXT_KEY[quote].finditer(body):
        if name in tools.schemas and order and match.group("key") not in order:
            continue
        arguments[key] = _unquoted(body[start : match.start()], quote, key)
        key, start = match.group("key"), match.end()
    arguments[key] = _unquoted(body[start:], quote, key)
    return arguments


def _quotes(body: str, quote: str) -> str:
    """How the quotes inside a value are written: not at all, escaped, or raw."""
    if quote not in body:
        return "none"
    return "raw" if quote in re.sub(r"\\.", "", body, flags=re.DOTALL) else "escaped"


def _unquoted(body: str, quote: str, key: str) -> str:
    style = _quotes(body, quote)
    if style == "none" and key == "code" and "\n" not in body and "\\n" in _STRINGS.sub("", body):
        style = "escaped"  # a program cannot hold \n outside its strings
    try:
        return unescape(body) if style == "escaped" else body
    except LiteralError:
        return body


def _typed_value(text: str, start: int, name: str, tools: Catalogue) -> tuple[dict[str, Any], int] | None:
    try:
        reader = Literals(text, start)
        arguments = _keywords(reader, ")", name, tools)
    except LiteralError:
        return None
    return arguments, reader.last_end
