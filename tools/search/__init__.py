"""Search on the web: one tool for the model, answered by Brave, Tavily, SearXNG or DuckDuckGo."""

from .base import Freshness, SafeSearch, SearchAnswer, SearchForm, SearchOptions, SearchResult, SearchTool
from .brave import KEY_VARIABLES, BraveSearch, clean_response, format_results
from .cache import SearchCache
from .choose import KEY_HELP, PROVIDER_VARIABLE, PROVIDERS, Provider, from_env, help_for, options_from_env
from .duckduckgo import DuckDuckGoSearch
from .searxng import SearxngSearch
from .tavily import TavilySearch

__all__ = [
    "KEY_HELP",
    "KEY_VARIABLES",
    "PROVIDERS",
    "PROVIDER_VARIABLE",
    "BraveSearch",
    "DuckDuckGoSearch",
    "Freshness",
    "Provider",
    "SafeSearch",
    "SearchAnswer",
    "SearchCache",
    "SearchForm",
    "SearchOptions",
    "SearchResult",
    "SearchTool",
    "SearxngSearch",
    "TavilySearch",
    "clean_response",
    "format_results",
    "from_env",
    "help_for",
    "options_from_env",
]
