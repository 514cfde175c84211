"""A hub on 127.0.0.1, and the ways in which the place behind it fails."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit


@dataclass
class Moods:
    """How the next answers of the file server are; each list is used up from the front, then all is well."""

    drop_after: list[int] = field(default_factory=list)
    """Bytes after which the connection is closed."""
    ignore_range: bool = False
    wrong_start: int = 0
    etags: bool = True
    statuses: list[int] = field(default_factory=list)


class Loopback:
    """Lists ``files`` as the hub's API does, redirects to a second server for the bytes, as the hub does."""

    def __init__(self, files: dict[str, bytes], *, token: str = "") -> None:
        self.files, self.token = files, token
        self.moods = Moods()
        self.lies: dict[str, str] = {}
        """SHA-256 that is told instead of the true one, by path."""
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.sent = 0
        self._servers = [_Server(("127.0.0.1", 0), _Handler) for _ in range(2)]
        for server in self._servers:
            server.owner = self
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            for server in self._servers
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._servers[0].server_address[1]}"

    @property
    def cdn(self) -> str:
        return f"http://127.0.0.1:{self._servers[1].server_address[1]}"

    def asked(self, start: str) -> list[dict[str, str]]:
        return [headers for path, headers in self.requests if path.startswith(start)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: Loopback

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub, path = self.server.owner, unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        hub.requests.append((path, headers))
        self.close_connection = True
        if path.startswith("/cdn/"):
            self._file(hub, hub.files[path.removeprefix("/cdn/")], headers)
        elif hub.token and headers.get("authorization") != f"Bearer {hub.token}":
            self._reply(401, b"gated")
        elif "/tree/" in path:
            self._reply(200, self._listing(hub))
        elif (name := path.partition("/resolve/main/")[2]) in hub.files:
            sha = hub.lies.get(name) or hashlib.sha256(hub.files[name]).hexdigest()
            more = {"Location": f"{hub.cdn}/cdn/{name}", "X-Linked-ETag": f'"{sha}"'}
            self._reply(302, b"", more)
        else:
            self._reply(404, b"no")

    def _listing(self, hub: Loopback) -> bytes:
        import json

        return json.dumps(
            [{"type": "directory", "path": "x", "size": 0, "oid": "0"}]
            + [
                {
                    "type": "file", "path": name, "size": len(data), "oid": "ab",
                    "lfs": {"oid": hub.lies.get(name) or hashlib.sha256(data).hexdigest(), "size": len(data)},
                }
                for name, data in hub.files.items()
            ]
        ).encode()  # fmt: skip

    def _file(self, hub: Loopback, data: bytes, headers: dict[str, str]) -> None:
        moods = hub.moods
        if moods.statuses:
            self._reply(moods.statuses.pop(0), b"not now")
            return
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        told = {"ETag": etag} if moods.etags else {}
        start = 0
        asked = headers.get("range", "")
        fresh = headers.get("if-range", etag) == etag
        if asked and fresh and not moods.ignore_range:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self._reply(416, b"", {**told, "Content-Range": f"bytes */{len(data)}"})
                return
            start = max(0, start - moods.wrong_start)
            told["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        self.send_response(206 if "Content-Range" in told else 200)
        for name, value in {**told, "Content-Length": str(len(body)), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        if moods.drop_after:
            body = body[: moods.drop_after.pop(0)]
        self.wfile.write(body)
        hub.sent += len(body)

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            **(headers or {}),
            "Content-Length": str(len(body)),
            "Connection": "close",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Stay silent."""
