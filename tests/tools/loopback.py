"""Servers on 127.0.0.1 that answer as the real APIs do, or as badly as they sometimes do."""

import gzip
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape, quoteattr


@dataclass(frozen=True)
class Reply:
    """One answer, after ``delay`` seconds; ``missing`` bytes are promised and not sent."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    missing: int = 0
    hang_up: bool = False


@dataclass(frozen=True)
class Request:
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes = b""


class Loopback:
    """Answers the n-th request with the n-th reply, and every further one with the last."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.loopback = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    loopback: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has left is what the tests of time-outs are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        loopback = self.server.loopback
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        loopback.requests.append(Request(parts.path, parse_qsl(parts.query), headers, body))
        reply = loopback.replies[min(len(loopback.requests), len(loopback.replies)) - 1]
        self.close_connection = True
        loopback.stopping.wait(reply.delay)
        if reply.hang_up:
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body) + reply.missing))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *args: Any) -> None:
        """Stay silent."""


def json_reply(value: Any, status: int = 200, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    return Reply(
        status,
        json.dumps(value).encode(),
        {"Content-Type": "application/json", **(headers or {})},
        **more,
    )


def gzipped(reply: Reply, *, keep: int | None = None) -> Reply:
    """Compress a reply's body, and keep only its first bytes if so asked."""
    body = gzip.compress(reply.body)[:keep]
    return Reply(reply.status, body, {**reply.headers, "Content-Encoding": "gzip"}, reply.delay)


def brave_answer(query: str, count: int = 4) -> dict[str, Any]:
    """An answer of ``/res/v1/web/search`` with web results only."""
    results = [
        {
            "title": f"Result {n} é",
            "url": f"https://example.org/{n}",
            "is_source_local": False,
            "description": f"It's <strong>number</strong> {n}",
            "profile": {"name": "Example", "url": "https://example.org"},
            "language": "en",
            "type": "search_result",
            "extra_snippets": ["more"],
        }
        for n in range(count)
    ]
    return {
        "type": "search",
        "query": {"original": query, "country": "us", "more_results_available": True},
        "mixed": {
            "type": "mixed",
            "main": [{"type": "web", "index": n, "all": False} for n in range(count)],
            "top": [],
            "side": [],
        },
        "web": {"type": "search", "results": results, "family_friendly": True},
    }


def brave_error(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Reply:
    error = {"id": "1f6f", "status": status, "code": code, "detail": detail, "meta": {"component": "x"}}
    return json_reply({"type": "ErrorResponse", "error": error, "time": 1732147200}, status, headers)


def brave_rate_limit(headers: dict[str, str] | None = None) -> Reply:
    return brave_error(429, "RATE_LIMITED", "Request rate limit exceeded for plan.", headers)


def tavily_answer(query: str, count: int = 4) -> dict[str, Any]:
    """An answer of ``POST /search`` as Tavily documents it."""
    results = [
        {
            "title": f"Result {n} é",
            "url": f"https://example.org/{n}",
            "content": f"It's number {n}",
            "score": 0.9 - n / 10,
            "raw_content": None,
            "favicon": None,
        }
        for n in range(count)
    ]
    return {
        "query": query,
        "follow_up_questions": None,
        "answer": None,
        "images": [],
        "results": results,
        "response_time": 1.67,
        "request_id": "123e4567-e89b-12d3-a456-426614174111",
    }


def tavily_error(status: int, text: str, headers: dict[str, str] | None = None) -> Reply:
    return json_reply({"detail": {"error": text}}, status, headers)


def searxng_answer(query: str, count: int = 4, unresponsive: Sequence[Sequence[str]] = ()) -> dict[str, Any]:
    """An answer of ``/search?format=json``."""
    results = [
        {
            "url": f"https://example.org/{n}",
            "title": f"Result {n} é",
            "content": f"It's number {n}",
            "publishedDate": "2026-01-02T00:00:00" if n == 0 else None,
            "thumbnail": None,
            "engine": "brave",
            "template": "default.html",
            "parsed_url": ["https", "example.org", f"/{n}", "", "", ""],
            "img_src": "",
            "priority": "",
            "engines": ["brave", "qwant"],
            "positions": [n + 1],
            "score": 1.0,
            "category": "general",
        }
        for n in range(count)
    ]
    return {
        "query": query,
        "number_of_results": 0,
        "results": results,
        "answers": [],
        "corrections": [],
        "infoboxes": [],
        "suggestions": ["gold price today"],
        "unresponsive_engines": list(unresponsive),
    }


def duckduckgo_page(count: int = 4) -> Reply:
    """The page of html.duckduckgo.com with results as ddgs reads it."""
    results = "".join(
        '<div class="result results_links results_links_deep web-result"><div class="links_main result__body">'
        f'<h2 class="result__title"><a class="result__a" href="https://example.org/{n}">Result {n} é</a></h2>'
        f'<a class="result__snippet" href="https://example.org/{n}">It\'s <b>number</b> {n}</a></div></div>'
        for n in range(count)
    )
    page = f'<html><head><meta charset="utf-8"></head><body><div id="links">{results}</div></body></html>'
    return Reply(200, page.encode(), {"Content-Type": "text/html; charset=UTF-8"})


def wolfram_answer(
    query: str | None,
    pods: Sequence[tuple[str, str]] = (),
    *,
    success: bool = True,
    error: bool = False,
    extra: str = "",
    attributes: str = "",
    content_type: str = "text/xml;charset=utf-8",
) -> Reply:
    """An answer of ``/v2/query`` as XML; pods are (title, plaintext), the one titled Result is primary."""
    flag = {True: "true", False: "false"}
    asked = "" if query is None else f" inputstring={quoteattr(query)}"
    written = "".join(
        f"<pod title={quoteattr(title)} scanner='Simplification' id={quoteattr(title)} position='{n}00'"
        f" error='false' numsubpods='1'{' primary=' + repr('true') if title == 'Result' else ''}>"
        f"<subpod title=''><plaintext>{escape(text)}</plaintext></subpod>"
        "<expressiontypes count='1'><expressiontype name='Default'/></expressiontypes>"
        "<states count='1'><state name='More' input='x__More'/></states></pod>"
        for n, (title, text) in enumerate(pods, 1)
    )
    xml = (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        f"<queryresult success='{flag[success]}' error='{flag[error]}' numpods='{len(pods)}' datatypes='Math'"
        " timing='0.5' parsetiming='0.1' parsetimedout='false' recalculate='' id='MSP1'"
        f" host='https://www6b3.wolframalpha.com' server='19' related='' version='2.6'{asked} {attributes}>"
        f"{written}{extra}</queryresult>"
    )
    return Reply(200, xml.encode(), {"Content-Type": content_type})
