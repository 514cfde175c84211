"""Search with Tavily: https://docs.tavily.com/documentation/api-reference/endpoint/search."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from arriero.tools._http import HttpResponse, one_line, post_json, printable_key, require_ok
from arriero.tools.base import ToolError

from .base import SearchAnswer, SearchOptions, SearchResult, SearchTool, read_object, text_of

BASE_URL = "https://api.tavily.com"
PATH = "/search"

KEY_VARIABLE: Final = "TAVILY_API_KEY"

_USED_UP: Final = {432: "the plan's limit is reached", 433: "the pay-as-you-go limit is reached"}


class TavilySearch(SearchTool):
    """Tavily's basic search; its generated answer is not asked for.

    ``safe_search`` other than ``off`` asks for Tavily's filter, which not every plan has. Raises ToolError for
    a key that cannot be one; the key is in no repr, error, cache or log.
    """

    provider: ClassVar[str] = "tavily"

    def __init__(
        self, api_key: str, *, base_url: str = BASE_URL, options: SearchOptions | None = None
    ) -> None:
        self._key = printable_key("the Tavily key", api_key)
        self._url = base_url.rstrip("/") + PATH
        super().__init__(options or SearchOptions(), secret=self._key)

    def _place(self) -> str:
        return self._url

    async def _ask(self, query: str) -> SearchAnswer:
        options = self._options
        asked: dict[str, Any] = {"query": query, "max_results": options.max_results, "search_depth": "basic"}
        if options.freshness is not None:
            asked["time_range"] = options.freshness
        if options.safe_search is not None:
            asked["safe_search"] = options.safe_search != "off"
        response = await post_json(
            self._url,
            asked,
            headers={
                "Authorization": f"Bearer {self._key}",
                "Accept-Encoding": "gzip",
                "Accept": "application/json",
            },
            time_limit=options.timeout,
            retry=options.retry,
            transport=options.transport,
        )
        answer = _read(response)
        found = answer.get("results")
        results = (
            [_result(item) for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
        )
        return SearchAnswer.of(query, [result for result in results if result.url][: options.max_results])


def _read(response: HttpResponse) -> dict[str, Any]:
    detail = _detail(response)
    if response.status in _USED_UP:
        said = f"HTTP {response.status}" + (f" ({detail})" if detail else "")
        raise ToolError(f"Tavily: {_USED_UP[response.status]}, {said}; the user has to check their account")
    require_ok(response, service="Tavily", key_variable=KEY_VARIABLE, detail=detail)
    return read_object(response, "Tavily")


def _detail(response: HttpResponse) -> str:
    """The text of ``{"detail": {"error": …}}``, or of a ``detail`` that is a text itself."""
    try:
        body = response.json()
    except ValueError:
        return ""
    detail = body.get("detail") if isinstance(body, dict) else None
    return one_line(detail.get("error") if isinstance(detail, dict) else detail)


def _result(item: Mapping[str, Any]) -> SearchResult:
    date = text_of(item.get("published_date")) or None
    return SearchResult(
        text_of(item.get("title")), text_of(item.get("url")), text_of(item.get("content")), date
    )
