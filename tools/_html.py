"""HTML as text a model can read, block by block, each with the line on which it starts."""

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
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
    try:
        reader.feed(html)
        reader.close()
    except AssertionError:
        # The standard library's parser raises it at a declaration such as `<![x`; what came before counts.
        pass
    return reader.page()


class _Reader(HTMLParser):
    def __init__(self, skipped: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self._skipped = skipped
        self._hidden: list[str] = []
        self._in_title = False
        self._preformatted = 0
        self._title: list[str] = []
        self._blocks: list[Block] = []
        self._parts: list[str] = []
        self._line = 1
        self._prefix = ""

    def page(self) -> Page:
        self._flush()
        return Page(" ".join("".join(self._title).split()), tuple(self._blocks))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # `<p/>` opens a paragraph, for HTML has no self-closing tags; only a drawing may end at once.
        if tag not in self._skipped:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
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

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._in_title:
            self._title.append(data)
            return
        if not any(part.strip() for part in self._parts):
            self._parts.clear()
            lead = data[: len(data) - len(data.lstrip())]
            self._line = self.getpos()[0] + lead.count("\n")
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
