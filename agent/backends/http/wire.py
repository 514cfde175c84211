"""Requests to one server: its address, its key, and errors that say what to do."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import anyio

from arriero.tools._http import HttpError, HttpResponse, Retry, get, one_line, post_json, printable_key
from arriero.tools._http_stream import HttpStream, open_stream, sse_data
from arriero.tools.base import ToolError

from ..base import ModelError

QUICK = 15.0  # seconds for anything but generating
MAX_ANSWER = 64_000_000  # bytes; the ids of a long prompt


@dataclass(frozen=True, slots=True)
class Wire:
    """Where a server is and how patient to be. ``silence`` is in seconds, see HTTPModel."""

    base: str
    key: str | None = field(default=None, repr=False)
    silence: float = 300.0
    retry: Retry = field(default_factory=Retry)

    @property
    def host(self) -> str:
        """What errors call the server."""
        return urlsplit(self.base).netloc

    async def get(self, path: str) -> HttpResponse:
        """GET one small thing. Raises ModelError when no answer comes."""
        try:
            return await get(
                self.base + path,
                headers=self._headers(),
                time_limit=QUICK,
                retry=self.retry,
                max_bytes=MAX_ANSWER,
            )
        except HttpError as error:
            raise self.unreachable(error) from None

    async def post(self, path: str, value: Any) -> HttpResponse:
        """POST something that only reads. Raises ModelError when no answer comes."""
        try:
            return await post_json(
                self.base + path,
                value,
                headers=self._headers(),
                time_limit=QUICK,
                retry=self.retry,
                max_bytes=MAX_ANSWER,
            )
        except HttpError as error:
            raise self.unreachable(error) from None

    @asynccontextmanager
    async def stream(self, path: str, value: Any) -> AsyncGenerator[HttpStream | HttpResponse, None]:
        """POST and give the answer while it comes; one that is not 200 is given whole.

        Until an answer has begun, the request is made again as ``retry`` says. Raises HttpError.
        """
        body = json.dumps(value).encode()
        headers = {"Content-Type": "application/json", **self._headers()}
        attempt = 0
        while True:
            try:
                async with open_stream(
                    "POST", self.base + path, headers=headers, body=body, silence=self.silence
                ) as stream:
                    answer = stream if stream.status == 200 else await stream.whole()
                    if isinstance(answer, HttpStream) or not self._again(answer, attempt):
                        yield answer
                        return
                    wait = self.retry.wait(attempt, answer)
            except HttpError as error:
                if error.kind != "connection" or attempt + 1 >= self.retry.attempts:
                    raise
                wait = self.retry.wait(attempt, None)
            attempt += 1
            await anyio.sleep(wait)

    async def events(self, stream: HttpStream, *, lines: bool) -> AsyncIterator[Mapping[str, Any]]:
        """The JSON objects of a stream, up to ``[DONE]``. Raises HttpError, and ModelError for other things."""
        kind = stream.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise ModelError(f"{self.host} answers with a web page: is this the address of a model server?")
        texts = stream.lines() if lines else sse_data(stream.lines())
        async with aclosing(texts):  # type: ignore[type-var]
            async for text in texts:
                if not text.strip():
                    continue
                if text.strip() == "[DONE]":
                    return
                yield self._event(text)

    def _event(self, text: str) -> Mapping[str, Any]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ModelError(f"{self.host} sent something that is no JSON object: {one_line(text, 80)}")
        return value

    def _again(self, answer: HttpResponse, attempt: int) -> bool:
        return answer.status in (429, 502, 503, 504) and attempt + 1 < self.retry.attempts

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def unreachable(self, error: HttpError) -> ModelError:
        """The error for a server that gives no answer."""
        return ModelError(f"{error}; is the model server running at {self.base}?")


def address(url: str) -> tuple[str, str]:
    """The base address of a server, and the name of a model that stands behind ``#``.

    A path ``/v1`` at the end is the OpenAI protocol's and is left out. Raises ModelError.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query:
        raise ModelError(f"{one_line(url)} is no server's address; one is like http://127.0.0.1:8080")
    if parts.username or parts.password:
        raise ModelError("an address with a name or a password in it is not used; give the key as api_key")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), parts.fragment


def usable_key(key: str | None) -> str | None:
    """The key as it can stand in a header. Raises ModelError, without the key."""
    if key is None:
        return None
    try:
        return printable_key("the API key", key)
    except ToolError as error:
        raise ModelError(str(error)) from None
