"""Search with Brave: the reference's exact request, and its result in either of the reference's two forms."""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from arriero.prompts import BRAVE_SEARCH, ToolSpec

from ._http import HttpResponse, Retry, get, one_line, printable_key, redact, require_ok
from .base import Effect, ModelRetry, Tool, ToolContext, ToolError, ToolResult

if TYPE_CHECKING:
    from ._http import Transport

SearchForm = Literal["las", "llama_stack"]

BASE_URL = "https://api.search.brave.com"
PATH = "/res/v1/web/search"

KEY_VARIABLES: Final = ("BRAVE_SEARCH_API_KEY", "BRAVE_API_KEY")
"""Environment variables that may hold the key; the first that is set wins."""

KEY_HELP: Final = (
    "search is off: no Brave key. Get one at https://api-dashboard.search.brave.com "
    "and set it with: export BRAVE_SEARCH_API_KEY=…"
)
"""What to tell a user who has no key."""

_ONE_OF: Final = {
    "web": ("type", "title", "url", "description", "date", "extra_snippets"),
    "infobox": ("type", "title", "url", "description", "long_desc"),
}
_ALL_OF: Final = {
    "faq": ("type", "question", "answer", "title", "url"),
    "videos": ("type", "url", "title", "description", "date"),
    "locations": (
        "type",
        "title",
        "url",
        "description",
        "coordinates",
        "postal_address",
        "contact",
        "rating",
        "distance",
        "zoom_level",
    ),
    "news": ("type", "title", "url", "description"),
}

_SPEC: Final = ToolSpec(
    name=BRAVE_SEARCH,
    description="Search the web with Brave Search",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string", "description": "The query to search for"}},
        "required": ["query"],
    },
)


class BraveSearch(Tool):
    """Answers ``brave_search(query)`` with the first results of Brave's web search.

    ``timeout`` is in seconds and covers retries and waits. ``form`` is the text that the model sees: ``las``
    is llama-agentic-system's JSON, ``llama_stack`` one Python dict per line. ``transport`` replaces the
    network in tests. Raises ToolError for a key that cannot be one; the key is in no repr, error or log.
    """

    spec = _SPEC
    effect: Effect = "read"

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = BASE_URL,
        transport: "Transport | None" = None,
        timeout: float = 10.0,
        max_results: int = 3,
        form: SearchForm = "las",
        retry: Retry | None = None,
    ) -> None:
        self._key = printable_key("the Brave Search key", api_key)
        self._url = base_url.rstrip("/") + PATH
        self._transport = transport
        self._time_limit = timeout
        self._max_results = max_results
        self._form = form
        self._retry = retry
        # A second more than the request's own limit, so that its clearer message wins over the loop's.
        self.timeout = timeout + 1.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "BraveSearch | None":
        """Make the tool with the key found in the environment; None when none is set (see KEY_HELP)."""
        variables = os.environ if environ is None else environ
        key = next((variables[name] for name in KEY_VARIABLES if variables.get(name, "").strip()), None)
        return None if key is None else cls(key)

    def __repr__(self) -> str:
        return f"BraveSearch(form={self._form!r}, max_results={self._max_results})"

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Search for ``arguments["query"]``; raises ToolError when no results can be had."""
        query = arguments.get("query")
        if not isinstance(query, str) or not query.strip():
            raise ModelRetry("brave_search needs a query that is not empty")
        try:
            return ToolResult(await self._search(query))
        except ToolError as error:
            raise ToolError(f"the search failed: {redact(str(error), self._key)}") from None

    async def _search(self, query: str) -> str:
        response = await get(
            self._url,
            params=[("q", query)],
            headers={
                "X-Subscription-Token": self._key,
                "Accept-Encoding": "gzip",
                "Accept": "application/json",
            },
            time_limit=self._time_limit,
            retry=self._retry,
            transport=self._transport,
        )
        answer = _read(response)
        try:
            return format_results(answer, form=self._form, max_results=self._max_results)
        except RecursionError:
            raise ToolError("Brave's answer is nested too deeply") from None


def format_results(response: Mapping[str, Any], *, form: SearchForm = "las", max_results: int = 3) -> str:
    """Write an API response as the reference's text.

    Deviation: an entry whose result is missing or of the wrong shape is left out, where the reference fails
    with an IndexError, KeyError or TypeError.
    """
    entries = clean_response(response, max_results=max_results)
    if form == "las":
        asked = response.get("query")
        original = asked.get("original") if isinstance(asked, Mapping) else None
        return json.dumps({"query": original, "top_k": [[] if entry is None else entry for entry in entries]})
    return "\n".join("" if entry is None else str(entry) for entry in entries)


def clean_response(
    response: Mapping[str, Any], *, max_results: int = 3
) -> list[dict[str, Any] | list[dict[str, Any]] | None]:
    """Pick the first entries of ``mixed.main`` and keep the reference's keys, in the API's order.

    A ``web`` or ``infobox`` entry is one dict, an entry of the other known types the list of all its results,
    an entry of an unknown type None.
    """
    mixed = response.get("mixed")
    main = mixed.get("main") if isinstance(mixed, Mapping) else None
    if not isinstance(main, list):
        return []
    picked = (_pick(response, entry) for entry in main[:max_results])
    return [entry for found, entry in picked if found]


def _pick(
    response: Mapping[str, Any], entry: Any
) -> tuple[bool, dict[str, Any] | list[dict[str, Any]] | None]:
    """Say whether there is something for this entry, and what."""
    kind = entry.get("type") if isinstance(entry, Mapping) else None
    section = response.get(kind) if isinstance(kind, str) else None
    results = section.get("results") if isinstance(section, Mapping) else None
    if not isinstance(results, list):
        return False, None
    if kind in _ALL_OF:
        keys = _ALL_OF[kind]
        return True, [_keep(item, keys) for item in results if isinstance(item, Mapping)]
    if kind not in _ONE_OF:
        return True, None
    index = entry.get("index")
    if type(index) is not int or not 0 <= index < len(results) or not isinstance(results[index], Mapping):
        return False, None
    return True, _keep(results[index], _ONE_OF[kind])


def _keep(item: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key in keys}


def _read(response: HttpResponse) -> dict[str, Any]:
    code, detail = _api_error(response)
    if code == "SUBSCRIPTION_TOKEN_INVALID":
        raise ToolError(f"Brave refused the key ({detail}); the user has to check {KEY_VARIABLES[0]}")
    require_ok(response, service="Brave", key_variable=KEY_VARIABLES[0], detail=detail)
    if code:
        raise ToolError(f"Brave answered with an error ({detail})")
    try:
        answer = response.json()
    except ValueError:
        kind = one_line(response.content_type) or "none named"
        raise ToolError(f"Brave's answer is not JSON (content type: {kind})") from None
    if not isinstance(answer, dict):
        raise ToolError("Brave's answer is JSON, but not an object")
    return answer


def _api_error(response: HttpResponse) -> tuple[str, str]:
    """The code, and code and detail in one text, of ``{"type": "ErrorResponse", "error": {…}}``."""
    try:
        body = response.json()
    except ValueError:
        return "", ""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "", ""
    code, detail = one_line(error.get("code")), one_line(error.get("detail"))
    return code or "no code", ": ".join(part for part in (code, detail) if part)
