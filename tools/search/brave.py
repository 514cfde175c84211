"""Search with Brave: the reference's exact request, and its result in either of the reference's two forms."""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Final

from arriero.tools._http import HttpResponse, Retry, get, one_line, printable_key, require_ok
from arriero.tools.base import ToolError

from .base import Freshness, SafeSearch, SearchAnswer, SearchForm, SearchOptions, SearchTool, read_object
from .cache import SearchCache

if TYPE_CHECKING:
    from arriero.tools._http import Transport

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

_FRESHNESS: Final = {"day": "pd", "week": "pw", "month": "pm", "year": "py"}


class BraveSearch(SearchTool):
    """Brave's web search; see SearchOptions for what the options mean.

    Without ``safe_search`` and ``freshness`` the request is the reference's, to the byte. ``transport`` replaces
    the network in tests. Raises ToolError for a key that cannot be one; the key is in no repr, error, cache or
    log. Parameters: https://api-dashboard.search.brave.com/app/documentation/web-search/query
    """

    provider: ClassVar[str] = "brave"

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = BASE_URL,
        transport: "Transport | None" = None,
        timeout: float = 10.0,
        max_results: int = 3,
        form: SearchForm = "las",
        safe_search: SafeSearch | None = None,
        freshness: Freshness | None = None,
        retry: Retry | None = None,
        cache: SearchCache | None = None,
    ) -> None:
        self._key = printable_key("the Brave Search key", api_key)
        self._url = base_url.rstrip("/") + PATH
        options = SearchOptions(
            timeout=timeout,
            max_results=max_results,
            form=form,
            safe_search=safe_search,
            freshness=freshness,
            retry=retry,
            cache=cache,
            transport=transport,
        )
        super().__init__(options, secret=self._key)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "BraveSearch | None":
        """Make the tool with the key found in the environment; None when none is set (see KEY_HELP)."""
        key = key_from(os.environ if environ is None else environ)
        return None if key is None else cls(key)

    @classmethod
    def with_options(cls, api_key: str, options: SearchOptions, *, base_url: str = BASE_URL) -> "BraveSearch":
        """Make the tool from options that all providers share."""
        values = {item.name: getattr(options, item.name) for item in fields(options)}
        return cls(api_key, base_url=base_url, **values)

    def _place(self) -> str:
        return self._url

    async def _ask(self, query: str) -> SearchAnswer:
        options = self._options
        params = [("q", query)]
        if options.safe_search is not None:
            params.append(("safesearch", options.safe_search))
        if options.freshness is not None:
            params.append(("freshness", _FRESHNESS[options.freshness]))
        response = await get(
            self._url,
            params=params,
            headers={
                "X-Subscription-Token": self._key,
                "Accept-Encoding": "gzip",
                "Accept": "application/json",
            },
            time_limit=options.timeout,
            retry=options.retry,
            transport=options.transport,
        )
        answer = _read(response)
        return SearchAnswer(_asked(answer), clean_response(answer, max_results=options.max_results))


def key_from(environ: Mapping[str, str]) -> str | None:
    """The first of KEY_VARIABLES that is set and not blank."""
    return next((environ[name] for name in KEY_VARIABLES if environ.get(name, "").strip()), None)


def format_results(response: Mapping[str, Any], *, form: SearchForm = "las", max_results: int = 3) -> str:
    """Write an API response as the reference's text.

    Deviation: an entry whose result is missing or of the wrong shape is left out, where the reference fails
    with an IndexError, KeyError or TypeError.
    """
    return SearchAnswer(_asked(response), clean_response(response, max_results=max_results)).text(form)


def _asked(response: Mapping[str, Any]) -> Any:
    asked = response.get("query")
    return asked.get("original") if isinstance(asked, Mapping) else None


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
    return read_object(response, "Brave")


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
