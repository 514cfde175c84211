"""The tool through which a model asks the user's documents."""

import json
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import anyio.to_thread

from arriero.prompts import ToolSpec
from arriero.tools.base import Effect, ModelRetry, Tool, ToolContext, ToolResult

from .index import DocumentIndex, IndexProgress, IndexReport, Passage

MAX_RESULTS = 20

_SPEC: Final = ToolSpec(
    name="search_documents",
    description="Search the user's own documents; returns passages with file and line or page to cite",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "Words to look for"},
            "limit": {"type": "integer", "description": f"Most passages to return, 1 to {MAX_RESULTS}"},
        },
        "required": ["query"],
    },
)


class DocumentSearch(Tool):
    """Answers ``search_documents(query, limit)`` from the documents in a folder, offline.

    The index is brought up to date before a query when that was last done more than ``refresh_after`` seconds
    ago; call :meth:`refresh` first to show progress. ``index`` is the file to keep it in, ``limit`` the number
    of passages where the model names none, ``timeout`` in seconds for one call. Raises ToolError for a folder
    that is none.
    """

    spec = _SPEC
    effect: Effect = "read"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        index: str | os.PathLike[str] | None = None,
        limit: int = 5,
        refresh_after: float = 60.0,
        timeout: float | None = 120.0,
    ) -> None:
        self._index = DocumentIndex(folder, path=index)
        self._limit = limit
        self._refresh_after = refresh_after
        self._refreshed: float | None = None
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"DocumentSearch({str(self._index.folder)!r})"

    @property
    def index(self) -> DocumentIndex:
        return self._index

    def refresh(
        self,
        on_progress: Callable[[IndexProgress], None] = lambda progress: None,
        *,
        stop: threading.Event | None = None,
    ) -> IndexReport:
        """Bring the index up to date in this thread. Raises ToolError where that cannot be done."""
        report = self._index.refresh(on_progress, stop=stop)
        if stop is None or not stop.is_set():
            self._refreshed = time.monotonic()
        return report

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Find passages for ``arguments["query"]``; raises ToolError where the index cannot be used."""
        query, limit = arguments.get("query"), arguments.get("limit")
        if not isinstance(query, str) or not query.strip():
            raise ModelRetry("search_documents needs a query that is not empty")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ModelRetry(f"limit has to be a whole number from 1 to {MAX_RESULTS}")
        query = query.encode("utf-8", "replace").decode()
        stop = threading.Event()
        ask = partial(self._answer, query, min(limit or self._limit, MAX_RESULTS), stop)
        try:
            found = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)
        finally:
            stop.set()
        entries = [_entry(passage) for passage in found]
        return ToolResult(json.dumps({"query": query, "top_k": entries}, ensure_ascii=False))

    def _answer(self, query: str, limit: int, stop: threading.Event) -> list[Passage]:
        if self._refreshed is None or time.monotonic() - self._refreshed > self._refresh_after:
            self.refresh(stop=stop)
        return self._index.find(query, limit)


def _entry(passage: Passage) -> dict[str, Any]:
    place = {"line": passage.line} if passage.page is None else {"page": passage.page}
    return {"file": passage.path, **place, "text": passage.text}
