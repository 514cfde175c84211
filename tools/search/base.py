"""What every search provider is: one tool for the model, one result type, one cache, one way to fail."""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from arriero.prompts import BRAVE_SEARCH, ToolSpec
from arriero.tools._http import HttpResponse, Retry, one_line, redact
from arriero.tools.base import Effect, ModelRetry, Tool, ToolContext, ToolError, ToolResult

from .cache import SearchCache

if TYPE_CHECKING:
    from arriero.tools._http import Transport

SearchForm = Literal["las", "llama_stack"]
SafeSearch = Literal["off", "moderate", "strict"]
Freshness = Literal["day", "week", "month", "year"]

MAX_QUERY = 400
"""Longest query sent, in characters: Brave's and Tavily's own limit."""

_SPEC: Final = ToolSpec(
    name=BRAVE_SEARCH,
    description="Search the web",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string", "description": "The query to search for"}},
        "required": ["query"],
    },
)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page found; ``date`` is as the provider wrote it, ``extra`` what else it said that is worth reading."""

    title: str
    url: str
    description: str
    date: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """The result as the model sees it, in the shape of Brave's web results."""
        known = {"title": self.title, "url": self.url, "description": self.description}
        dated = {} if self.date is None else {"date": self.date}
        return {**known, "type": "search_result", **dated, **self.extra}


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What a provider answered: the query as it understood it, and the entries of ``top_k`` in its order."""

    query: str | None
    top_k: Sequence[Any]

    @classmethod
    def of(cls, query: str, results: Sequence[SearchResult]) -> "SearchAnswer":
        """Wrap results of a provider that has no form of its own to keep."""
        return cls(query, [result.entry() for result in results])

    @property
    def results(self) -> tuple[SearchResult, ...]:
        """The entries as one flat list of one type; what has no address is left out."""
        flat = (item for entry in self.top_k for item in (entry if isinstance(entry, list) else [entry]))
        found = (_result(item) for item in flat if isinstance(item, Mapping))
        return tuple(result for result in found if result is not None)

    def text(self, form: SearchForm = "las") -> str:
        """Write the answer as the reference does: ``{"query", "top_k"}``, or one Python dict per line."""
        if form == "las":
            entries = [[] if entry is None else entry for entry in self.top_k]
            return json.dumps({"query": self.query, "top_k": entries})
        return "\n".join("" if entry is None else str(entry) for entry in self.top_k)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What all providers can be told.

    ``timeout`` is in seconds and covers retries and waits. ``form`` is the text that the model sees: ``las`` is
    llama-agentic-system's JSON, ``llama_stack`` one Python dict per line. ``safe_search`` and ``freshness``
    None leave the choice to the provider. ``cache`` None asks anew every time.
    """

    timeout: float = 10.0
    max_results: int = 3
    form: SearchForm = "las"
    safe_search: SafeSearch | None = None
    freshness: Freshness | None = None
    retry: Retry | None = None
    cache: SearchCache | None = None
    transport: "Transport | None" = None


class SearchTool(Tool):
    """Answers ``brave_search(query)`` with the first results of one provider.

    The name stays ``brave_search`` whatever the provider: it is the built-in name that Llama 3.x was trained to
    call, and another name would have to be learnt from its description.
    """

    spec = _SPEC
    effect: Effect = "read"
    provider: ClassVar[str]

    def __init__(self, options: SearchOptions, *, secret: str = "") -> None:
        self._options = options
        self._secret = secret
        # A second more than the request's own limit, so that its clearer message wins over the loop's.
        self.timeout = options.timeout + 1.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(form={self._options.form!r}, max_results={self._options.max_results})"

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Search for ``arguments["query"]``; raises ToolError when no results can be had."""
        query = arguments.get("query")
        if not isinstance(query, str) or not query.strip():
            raise ModelRetry(f"{self.name} needs a query that is not empty")
        try:
            answer = await self.find(query)
            return ToolResult(answer.text(self._options.form))
        except RecursionError:
            raise ToolError("the search failed: the answer is nested too deeply") from None

    async def find(self, query: str) -> SearchAnswer:
        """Ask the cache, then the provider. Raises ToolError when no results can be had."""
        # A model can write half a surrogate pair in its JSON; no request can hold one.
        query = query.encode("utf-8", "replace").decode()
        if len(query) > MAX_QUERY:
            raise ModelRetry(f"the query is too long: at most {MAX_QUERY} characters")
        cache = self._options.cache
        key = self._cache_key(query)
        if cache is not None and (kept := await cache.get(key)) is not None:
            return SearchAnswer(kept.get("query"), kept.get("top_k") or [])
        try:
            answer = await self._ask(query)
        except ToolError as error:
            raise ToolError(f"the search failed: {redact(str(error), self._secret)}") from None
        if cache is not None:
            await cache.put(key, {"query": answer.query, "top_k": list(answer.top_k)})
        return answer

    @abstractmethod
    async def _ask(self, query: str) -> SearchAnswer:
        """Ask the provider. Raises ToolError."""

    def _place(self) -> str:
        """Where the answers come from, beside the provider's name: two servers do not share cached answers."""
        return ""

    def _cache_key(self, query: str) -> str:
        options = self._options
        asked = (options.max_results, options.safe_search, options.freshness)
        return json.dumps([self.provider, self._place(), *asked, query])


def read_object(response: HttpResponse, service: str) -> dict[str, Any]:
    """Read an answer that has to be a JSON object; ToolError, with its content type, when it is not."""
    try:
        answer = response.json()
    except ValueError:
        kind = one_line(response.content_type) or "none named"
        raise ToolError(f"{service}'s answer is not JSON (content type: {kind})") from None
    if not isinstance(answer, dict):
        raise ToolError(f"{service}'s answer is JSON, but not an object")
    return answer


def text_of(value: Any) -> str:
    """A field that should be a text; empty for anything else."""
    return value if isinstance(value, str) else ""


def _result(item: Mapping[str, Any]) -> SearchResult | None:
    url = text_of(item.get("url"))
    if not url:
        return None
    title = text_of(item.get("title")) or text_of(item.get("question"))
    description = text_of(item.get("description")) or text_of(item.get("answer"))
    known = {"title", "url", "description", "date", "type"}
    extra = {key: value for key, value in item.items() if key not in known}
    return SearchResult(title, url, description, text_of(item.get("date")) or None, extra)
