"""The readable text of what a server sent: HTML, plain text, JSON or PDF."""

import codecs
import json
import re
from typing import Final

from ._html import Page, read_html
from ._http import HttpResponse, one_line
from ._pdf import read_pdf
from .base import ToolError

ACCEPT: Final = "text/html, application/xhtml+xml, text/plain, application/json, application/pdf, */*;q=0.1"

MAX_ARTICLE = 1_000_000
"""Largest HTML, in characters, in which the article is looked for; longer pages are given as a whole."""

_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_TEXT: Final = frozenset(
    {
        "application/xml",
        "application/javascript",
        "application/x-yaml",
        "application/yaml",
        "application/toml",
    }
)
_META: Final = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
# No other codec: Python has some that are not character sets, and some that take quadratic time.
_CHARSET: Final = re.compile(
    r"(utf_?(8|16|32).*|ascii|latin.*|iso_?8859.*|cp\d+|windows.*|koi8.*|gb.*|hz|big5.*|euc.*|shift_?jis.*"
    r"|iso2022.*|mac_.*|tis_620|ptcp154)"
)
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def page_text(response: HttpResponse, *, address: str, max_chars: int) -> str:
    """Write an answer as the model sees it: title, address, and the text up to ``max_chars`` characters.

    Raises ToolError for a type that cannot be read, and for a page without text.
    """
    title, text = _read(response, max_chars)
    text = "".join(char for char in text if char in "\n\t" or ord(char) >= 32).strip()
    if not text:
        raise ToolError("the page has no text (it may need a browser that runs its scripts)")
    head = [f"Title: {one_line(title, 300)}"] if title else []
    head.append(f"Address: {one_line(address, 2000)}")
    cut = ""
    if len(text) > max_chars:
        cut = f"\n\n[cut here: the first {max_chars:,} of {len(text):,} characters]"
        text = text[:max_chars].rstrip()
    return "\n".join(head) + f"\n\n{text}{cut}"


def _read(response: HttpResponse, max_chars: int) -> tuple[str, str]:
    kind, body = response.content_type, response.body
    if kind == "application/pdf" or body.startswith(b"%PDF-"):
        return read_pdf(body, max_chars=max_chars + 1)
    if not kind:
        kind = _sniffed(body)
    if kind in _HTML:
        page = _article(decode(body, charset_of(response)))
        return page.title, page.text
    if kind == "application/json" or kind.endswith("+json"):
        return "", _pretty(body)
    if kind.startswith("text/") or kind in _TEXT or kind.endswith("+xml"):
        return "", decode(body, charset_of(response))
    raise ToolError(f"the page is of type {one_line(kind)}, which cannot be read as text")


def _article(html: str) -> Page:
    """The article of a page where readability finds one with enough text; the whole page otherwise."""
    whole = read_html(html)
    if not whole.blocks:
        whole = read_html(html, keep_asides=True)
    if len(html) > MAX_ARTICLE or len(whole.text) < 1000:
        return whole
    try:
        from readability import Document
        from readability.readability import Unparseable
    except ImportError:
        return whole
    try:
        found = read_html(Document(html).summary(html_partial=True))
    except (Unparseable, ValueError, RecursionError):
        return whole
    # Less than that is a teaser, or a page that is no article: an index, a table, a forum.
    return Page(whole.title, found.blocks) if len(found.text) * 4 > len(whole.text) else whole


def _pretty(body: bytes) -> str:
    text = decode(body, "utf-8")
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        return text


def charset_of(response: HttpResponse) -> str:
    """The charset that the server named, else the one in the page's own ``<meta>``; empty for neither."""
    named = re.search(r"charset\s*=\s*[\"']?([A-Za-z0-9_:.-]+)", response.headers.get("content-type", ""))
    if named is not None:
        return named[1]
    return meta_charset(response.body)


def meta_charset(body: bytes) -> str:
    """The charset that an HTML page names in its first 4 KB; empty when it names none."""
    meta = _META.search(body[:4096])
    return "" if meta is None else meta[1].decode("ascii")


def decode(body: bytes, charset: str = "") -> str:
    """Decode by byte order mark, by the charset named if it is one, as UTF-8, else as Windows-1252.

    As the web does it, ISO 8859-1 and ASCII mean Windows-1252 (https://encoding.spec.whatwg.org).
    """
    for mark, codec in _BOMS:
        if body.startswith(mark):
            return body.decode(codec, "replace").removeprefix("\ufeff")
    name = charset.lower().replace("-", "_")
    if _CHARSET.fullmatch(name) and not re.fullmatch(r"ascii|us_ascii|latin_?1|iso_?8859_?1|utf_?8", name):
        try:
            return body.decode(name, "replace")
        except LookupError:
            pass
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("utf-8" if name in ("utf_8", "utf8") else "cp1252", "replace")


def _sniffed(body: bytes) -> str:
    start = body[:1024].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "text/html"
    return "application/octet-stream" if b"\0" in start else "text/plain"
