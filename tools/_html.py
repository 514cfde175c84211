"""HTML as text a model can read, block by block, each with the line on which it starts.

Not through the standard library's parser: before Python 3.13.6 its time is quadratic in the length of broken tags
and comments, and pages come from strangers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import Final

_SILENT: Final = frozenset({"script", "style", "noscript", "template", "svg", "math", "iframe", "object"})
_ASIDE: Final = frozenset({"nav", "footer", "dialog", "menu"})
# fmt: off
_INLINE: Final = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "button", "cite", "code", "data", "del", "dfn", "em", "font",
    "i", "img", "input", "ins", "kbd", "label", "link", "mark", "meta", "output", "q", "rp", "rt", "ruby", "s",
    "samp", "select", "small", "span", "strike", "strong", "sub", "sup", "td", "th", "time", "tt", "u", "var", "wbr",
})
# fmt: on
_MARKUP: Final = re.compile(r"<!--|</?(?P<name>[A-Za-z][^\s/>]{0,63})|<[!?/]")
_IN_TAG: Final = re.compile(r">|=\s*[\"']")
_RAW: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "iframe", "noscript", "xmp")
}
_LONG_REFERENCE: Final = re.compile(r"&#\d{8,};?")
_HEADINGS: Final = {f"h{level}": "#" * level + " " for level in range(1, 7)}


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, heading, list item, table row or preformatted text."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says: its title and its blocks in order."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def text(self) -> str:
        """The blocks with an empty line between them, list items and table rows close together."""
        return "".join(_joined(self.blocks)).strip()


def read_html(html: str, *, keep_asides: bool = False) -> Page:
    """Read a page, however broken; scripts, styles and drawings are left out.

    Navigation, footers and dialogs are left out as well unless ``keep_asides``.
    """
    reader = _Reader(_SILENT if keep_asides else _SILENT | _ASIDE)
    line = 1
    for lines, kind, value in _tokens(html):
        reader.take(kind, value, line)
        line += lines
    return reader.page()


def _tokens(html: str) -> Iterator[tuple[int, str, str]]:
    """Cut a page into texts, opening tags and closing tags, each with the number of line ends in it.

    Each character is looked at a fixed number of times: what never ends goes to the end of the page, as in
    https://html.spec.whatwg.org/multipage/parsing.html#tokenization. Comments count as empty texts.
    """
    at = 0
    while at < len(html):
        mark = _MARKUP.search(html, at)
        start = len(html) if mark is None else mark.start()
        if start > at:
            yield html.count("\n", at, start), "text", _plain(html[at:start])
        if mark is None:
            return
        at = mark.end()
        if mark[0] == "<!--":
            end = html.find("-->", at)
            at = len(html) if end < 0 else end + 3
            yield html.count("\n", start, at), "text", ""
            continue
        name = mark["name"].lower() if mark["name"] else ""
        end = _tag_end(html, at) if name else html.find(">", at) + 1
        if end <= 0:
            return
        at = end
        kind = "text" if not name else "close" if mark[0].startswith("</") else "open"
        yield html.count("\n", start, at), kind, name
        if kind == "open" and name in _RAW:
            closing = _RAW[name].search(html, at)
            end = len(html) if closing is None else closing.start()
            yield html.count("\n", at, end), "text", _plain(html[at:end])
            at = end
        elif kind == "open" and name == "svg" and html[at - 2] == "/":
            yield 0, "close", name


def _tag_end(html: str, at: int) -> int:
    """The place after a tag, whose attributes may hold ``>`` in quotes; 0 when it never ends."""
    while (found := _IN_TAG.search(html, at)) is not None:
        at = found.end()
        if found[0] == ">":
            return at
        at = html.find(found[0][-1], at) + 1
        if at == 0:
            return 0
    return 0


def _plain(text: str) -> str:
    """Resolve character references; one with more digits than any character has is a broken one."""
    return unescape(_LONG_REFERENCE.sub("\ufffd", text))


class _Reader:
    def __init__(self, skipped: frozenset[str]) -> None:
        self._skipped = skipped
        self._hidden: list[str] = []
        self._in_title = False
        self._preformatted = 0
        self._title: list[str] = []
        self._blocks: list[Block] = []
        self._parts: list[str] = []
        self._line = 1
        self._prefix = ""

    def take(self, kind: str, value: str, line: int) -> None:
        if kind == "open":
            self._open(value)
        elif kind == "close":
            self._close(value)
        elif value:
            self._text(value, line)

    def page(self) -> Page:
        self._flush()
        return Page(" ".join("".join(self._title).split()), tuple(self._blocks))

    def _open(self, tag: str) -> None:
        if self._hidden:
            if tag == self._hidden[0]:
                self._hidden.append(tag)
            return
        if tag in self._skipped:
            self._flush()
            self._hidden.append(tag)
            return
        if tag not in _INLINE:
            self._flush()
        if tag in ("td", "th") and self._parts:
            self._parts.append(" | ")
        self._prefix = "- " if tag == "li" else _HEADINGS.get(tag, self._prefix)
        self._in_title = tag == "title"
        self._preformatted += tag == "pre"

    def _close(self, tag: str) -> None:
        if self._hidden:
            if tag == self._hidden[0]:
                self._hidden.pop()
            return
        if tag not in _INLINE:
            self._flush()
        if tag == "li" or tag in _HEADINGS:
            self._prefix = ""
        if tag == "title":
            self._in_title = False
        if tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)

    def _text(self, data: str, line: int) -> None:
        if self._hidden:
            return
        if self._in_title:
            self._title.append(data)
            return
        if not any(part.strip() for part in self._parts):
            self._parts.clear()
            lead = data[: len(data) - len(data.lstrip())]
            self._line = line + lead.count("\n")
        self._parts.append(data)

    def _flush(self) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        text = text.strip("\r\n").rstrip() if self._preformatted else " ".join(text.split())
        if text.strip():
            self._blocks.append(Block(self._line, self._prefix + text))
            self._prefix = ""


def _joined(blocks: tuple[Block, ...]) -> Iterator[str]:
    before = ""
    for block in blocks:
        close = _is_row(before) and _is_row(block.text)
        yield ("\n" if close else "\n\n") + block.text
        before = block.text


def _is_row(text: str) -> bool:
    return text.startswith("- ") or " | " in text
