"""Search with DuckDuckGo and no key, through the ddgs library, which reads the pages made for people."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Protocol

import anyio
import anyio.to_thread

from arriero.tools._http import one_line
from arriero.tools.base import ToolError

from .base import SearchAnswer, SearchOptions, SearchResult, SearchTool, text_of

INSTALL_HELP: Final = "DuckDuckGo search needs the ddgs package: pip install 'arriero[web]'"

_SAFE_SEARCH: Final = {"off": "off", "moderate": "moderate", "strict": "on"}
_FRESHNESS: Final = {"day": "d", "week": "w", "month": "m", "year": "y"}


class Client(Protocol):
    """The part of ``ddgs.DDGS`` that is used."""

    def text(self, query: str, **options: Any) -> list[dict[str, Any]]: ...


class DuckDuckGoSearch(SearchTool):
    """Asks DuckDuckGo, or other engines that ddgs knows, as ``backend`` (comma-separated) says.

    ``client`` makes the library's client from a time limit in seconds. A search that overruns its time limit
    is left to end on its own in its thread. There are no retries: DuckDuckGo answers haste with a longer
    refusal. Of the engines only some heed ``safe_search``; DuckDuckGo's own page does not.
    """

    provider: ClassVar[str] = "duckduckgo"

    def __init__(
        self,
        *,
        backend: str = "duckduckgo",
        client: Callable[[int], Client] | None = None,
        options: SearchOptions | None = None,
    ) -> None:
        self._backend = backend
        self._client = client
        super().__init__(options or SearchOptions())

    def _place(self) -> str:
        return self._backend

    async def _ask(self, query: str) -> SearchAnswer:
        limit = self._options.timeout
        try:
            with anyio.fail_after(limit):
                found = await anyio.to_thread.run_sync(partial(self._find, query), abandon_on_cancel=True)
        except TimeoutError:
            raise ToolError(f"DuckDuckGo did not answer within {limit:g} s") from None
        results = [_result(item) for item in found if isinstance(item, Mapping)]
        return SearchAnswer.of(
            query, [result for result in results if result.url][: self._options.max_results]
        )

    def _find(self, query: str) -> list[dict[str, Any]]:
        options = self._options
        asked: dict[str, Any] = {"backend": self._backend, "max_results": options.max_results}
        if options.safe_search is not None:
            asked["safesearch"] = _SAFE_SEARCH[options.safe_search]
        if options.freshness is not None:
            asked["timelimit"] = _FRESHNESS[options.freshness]
        make = self._client or _library()
        try:
            found = make(max(1, round(options.timeout))).text(query, **asked)
        except Exception as error:  # what the library raises is not told apart by its types
            raise _explained(error) from None
        return found if isinstance(found, list) else []


def is_installed() -> bool:
    """Whether the library is there, without loading it."""
    from importlib.util import find_spec

    return find_spec("ddgs") is not None


def _library() -> Callable[[int], Client]:
    try:
        from ddgs import DDGS
    except ImportError:
        raise ToolError(INSTALL_HELP) from None

    def make(timeout: int) -> Client:
        return DDGS(timeout=timeout)

    return make


def _explained(error: Exception) -> ToolError:
    name, said = type(error).__name__, one_line(str(error))
    if isinstance(error, ToolError):
        return error
    if name == "TimeoutException" or "timed out" in said:
        return ToolError("DuckDuckGo did not answer in time")
    if name == "RatelimitException":
        return ToolError("DuckDuckGo limits the number of requests; try again later")
    # ddgs says the same for an empty page, for a refusal and for a page that it cannot read.
    if name == "DDGSException" and said.startswith("No results found"):
        return ToolError(
            "DuckDuckGo gave no results: there are none, or it refuses requests by programs for now"
        )
    return ToolError(f"DuckDuckGo cannot be asked ({said or name})")


def _result(item: Mapping[str, Any]) -> SearchResult:
    return SearchResult(
        text_of(item.get("title")),
        text_of(item.get("href")),
        text_of(item.get("body")),
        text_of(item.get("date")) or None,
    )
