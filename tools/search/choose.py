"""Which provider to ask, from a name or from what the environment holds."""

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from arriero.tools.base import ToolError

from . import duckduckgo
from .base import Freshness, SafeSearch, SearchOptions, SearchTool
from .brave import KEY_HELP as BRAVE_HELP
from .brave import BraveSearch, key_from
from .cache import DEFAULT_TTL, SearchCache
from .duckduckgo import DuckDuckGoSearch
from .searxng import URL_VARIABLE, SearxngSearch
from .tavily import KEY_VARIABLE, TavilySearch

Provider = Literal["brave", "tavily", "searxng", "duckduckgo"]

PROVIDERS: Final[tuple[str, ...]] = get_args(Provider)
"""All providers, in the order in which they are preferred."""

PROVIDER_VARIABLE: Final = "ARRIERO_SEARCH"
"""Environment variable that may name the provider."""

SAFE_SEARCH_VARIABLE: Final = "ARRIERO_SAFE_SEARCH"
FRESHNESS_VARIABLE: Final = "ARRIERO_FRESHNESS"
RESULTS_VARIABLE: Final = "ARRIERO_SEARCH_RESULTS"
CACHE_VARIABLE: Final = "ARRIERO_SEARCH_CACHE"

MAX_RESULTS: Final = 20
"""Most results that all providers give for one request: Brave's own limit."""

KEY_HELP: Final = BRAVE_HELP
"""What to tell a user who has set up no provider."""

_HELP: Final = {
    "brave": BRAVE_HELP,
    "tavily": f"search is off: no Tavily key. Get one at https://app.tavily.com and set {KEY_VARIABLE}",
    "searxng": f"search is off: set {URL_VARIABLE} to the address of your SearXNG server",
    "duckduckgo": duckduckgo.INSTALL_HELP,
}


def from_env(
    environ: Mapping[str, str] | None = None,
    *,
    provider: str | None = None,
    options: SearchOptions | None = None,
) -> SearchTool | None:
    """Make the search tool that ``provider``, else ARRIERO_SEARCH, names; None when what it needs is not set.

    With neither, the first of Brave, Tavily and SearXNG whose key or address is set. DuckDuckGo is used only
    when named: it is asked without its operator's leave. ``options`` None are those of ``options_from_env``,
    with a cache on disk. Raises ToolError for a name that is no provider, and for options that are none.
    """
    variables = os.environ if environ is None else environ
    named = provider or variables.get(PROVIDER_VARIABLE, "").strip()
    if named and not provider and named.lower() not in PROVIDERS:
        raise ToolError(f"{PROVIDER_VARIABLE}: {_unknown(named)}")
    kept = options_from_env(variables) if options is None else options
    if named:
        return _make(_checked(named), variables, kept)
    made = (_make(name, variables, kept) for name in PROVIDERS if name != "duckduckgo")
    return next((tool for tool in made if tool is not None), None)


def options_from_env(environ: Mapping[str, str] | None = None) -> SearchOptions:
    """Options as the environment sets them, with answers kept on disk for an hour.

    ARRIERO_SAFE_SEARCH and ARRIERO_FRESHNESS take the options' own words, ARRIERO_SEARCH_RESULTS a number from
    1 to 20, ARRIERO_SEARCH_CACHE the seconds to keep an answer; 0 keeps none. Raises ToolError for anything
    else.
    """
    variables = os.environ if environ is None else environ
    given = {name: value.strip() for name, value in variables.items() if value.strip()}
    number = given.get(RESULTS_VARIABLE, str(SearchOptions().max_results))
    if not (number.isascii() and number.isdigit() and len(number) < 4 and 1 <= int(number) <= MAX_RESULTS):
        raise ToolError(f"{RESULTS_VARIABLE} has to be a number from 1 to {MAX_RESULTS}, not {number!r}")
    seconds = given.get(CACHE_VARIABLE, f"{DEFAULT_TTL:g}")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 10):
        raise ToolError(f"{CACHE_VARIABLE} has to be a number of seconds, 0 for no cache, not {seconds!r}")
    return SearchOptions(
        max_results=int(number),
        safe_search=_word(given, SAFE_SEARCH_VARIABLE, SafeSearch),
        freshness=_word(given, FRESHNESS_VARIABLE, Freshness),
        cache=SearchCache(ttl=float(seconds)) if int(seconds) else None,
    )


def _word(given: Mapping[str, str], name: str, kind: Any) -> Any:
    value = given.get(name)
    if value is not None and value not in get_args(kind):
        raise ToolError(f"{name} has to be one of {', '.join(get_args(kind))}, not {value!r}")
    return value


def help_for(provider: str | None = None) -> str:
    """One line that says what a provider lacks; without a name, what to do for search at all."""
    return _HELP[_checked(provider)] if provider else KEY_HELP


def _checked(name: str) -> str:
    if name.lower() not in PROVIDERS:
        raise ToolError(_unknown(name))
    return name.lower()


def _unknown(name: str) -> str:
    return f"there is no search provider {name!r}; choose one of {', '.join(PROVIDERS)}"


def _make(name: str, variables: Mapping[str, str], options: SearchOptions) -> SearchTool | None:
    match name:
        case "brave":
            key = key_from(variables)
            return None if key is None else BraveSearch.with_options(key, options)
        case "tavily":
            key = variables.get(KEY_VARIABLE, "").strip()
            return TavilySearch(key, options=options) if key else None
        case "searxng":
            url = variables.get(URL_VARIABLE, "").strip()
            return SearxngSearch(url, options=options) if url else None
        case _:
            return DuckDuckGoSearch(options=options) if duckduckgo.is_installed() else None
