"""Which provider to ask, from a name or from what the environment holds."""

import os
from collections.abc import Mapping
from typing import Final, Literal, get_args

from arriero.tools.base import ToolError

from . import duckduckgo
from .base import SearchOptions, SearchTool
from .brave import KEY_HELP as BRAVE_HELP
from .brave import BraveSearch, key_from
from .duckduckgo import DuckDuckGoSearch
from .searxng import URL_VARIABLE, SearxngSearch
from .tavily import KEY_VARIABLE, TavilySearch

Provider = Literal["brave", "tavily", "searxng", "duckduckgo"]

PROVIDERS: Final[tuple[str, ...]] = get_args(Provider)
"""All providers, in the order in which they are preferred."""

PROVIDER_VARIABLE: Final = "ARRIERO_SEARCH"
"""Environment variable that may name the provider."""

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
    when named: it is asked without its operator's leave. Raises ToolError for a name that is no provider.
    """
    variables = os.environ if environ is None else environ
    named = provider or variables.get(PROVIDER_VARIABLE, "").strip()
    if named:
        return _make(_checked(named), variables, options or SearchOptions())
    kept = options or SearchOptions()
    made = (_make(name, variables, kept) for name in PROVIDERS if name != "duckduckgo")
    return next((tool for tool in made if tool is not None), None)


def help_for(provider: str | None = None) -> str:
    """One line that says what a provider lacks; without a name, what to do for search at all."""
    return _HELP[_checked(provider)] if provider else KEY_HELP


def _checked(name: str) -> str:
    if name.lower() not in PROVIDERS:
        raise ToolError(f"there is no search provider {name!r}; choose one of {', '.join(PROVIDERS)}")
    return name.lower()


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
