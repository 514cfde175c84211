"""Search with a SearXNG server of one's own: https://docs.searxng.org/dev/search_api.html."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from arriero.tools._http import HttpResponse, get, one_line, require_ok
from arriero.tools.base import ToolError

from .base import SearchAnswer, SearchOptions, SearchResult, SearchTool, read_object, text_of

URL_VARIABLE: Final = "SEARXNG_URL"

_SAFE_SEARCH: Final = {"off": "0", "moderate": "1", "strict": "2"}


class SearxngSearch(SearchTool):
    """Asks a SearXNG server at ``base_url`` (scheme, host and any path before ``/search``).

    The server's ``settings.yml`` has to list ``json`` under ``search.formats``; without it every request is
    refused with HTTP 403.
    """

    provider: ClassVar[str] = "searxng"

    def __init__(self, base_url: str, *, options: SearchOptions | None = None) -> None:
        self._url = base_url.strip().rstrip("/") + "/search"
        super().__init__(options or SearchOptions())

    def _place(self) -> str:
        return self._url

    async def _ask(self, query: str) -> SearchAnswer:
        options = self._options
        params = [("q", query), ("format", "json")]
        if options.safe_search is not None:
            params.append(("safesearch", _SAFE_SEARCH[options.safe_search]))
        if options.freshness is not None:
            params.append(("time_range", options.freshness))
        response = await get(
            self._url,
            params=params,
            headers={"Accept-Encoding": "gzip", "Accept": "application/json"},
            time_limit=options.timeout,
            retry=options.retry,
            transport=options.transport,
        )
        answer = _read(response)
        found = answer.get("results")
        results = (
            [_result(item) for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
        )
        results = [result for result in results if result.url][: options.max_results]
        silent = _unresponsive(answer)
        if not results and silent:
            raise ToolError(f"SearXNG found nothing because its engines failed ({silent}); try again later")
        return SearchAnswer.of(query, results)


def _read(response: HttpResponse) -> dict[str, Any]:
    if response.status in (401, 403):
        raise ToolError(
            f"SearXNG refused the request, HTTP {response.status}; the user has to add json to search.formats "
            "in its settings.yml"
        )
    require_ok(response, service="SearXNG", key_variable=URL_VARIABLE)
    return read_object(response, "SearXNG")


def _unresponsive(answer: Mapping[str, Any]) -> str:
    """``[["google", "timeout"], …]`` as one line; empty when all engines answered."""
    engines = answer.get("unresponsive_engines")
    if not isinstance(engines, list):
        return ""
    pairs = (pair for pair in engines if isinstance(pair, list) and len(pair) == 2)
    return one_line(", ".join(f"{one_line(name)}: {one_line(why)}" for name, why in pairs))


def _result(item: Mapping[str, Any]) -> SearchResult:
    date = text_of(item.get("publishedDate")) or None
    return SearchResult(
        text_of(item.get("title")), text_of(item.get("url")), text_of(item.get("content")), date
    )
