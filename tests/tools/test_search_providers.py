"""The providers beside Brave, each against a server that speaks its API, and what they have in common."""

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from loopback import (
    Loopback,
    Reply,
    brave_answer,
    duckduckgo_page,
    gzipped,
    json_reply,
    searxng_answer,
    tavily_answer,
    tavily_error,
)

from arriero.tools import ModelRetry, ToolContext, ToolError
from arriero.tools._http import Retry
from arriero.tools.search import (
    KEY_HELP,
    PROVIDERS,
    BraveSearch,
    DuckDuckGoSearch,
    SearchOptions,
    SearchTool,
    SearxngSearch,
    TavilySearch,
    from_env,
    help_for,
    options_from_env,
)

KEY = "tvly-secret-key"
SOON = Retry(base=0.0)
FIRST = {
    "title": "Result 0 é",
    "url": "https://example.org/0",
    "description": "It's number 0",
    "type": "search_result",
}

Make = Callable[[Loopback, SearchOptions], SearchTool]


def tavily(server: Loopback, options: SearchOptions) -> SearchTool:
    return TavilySearch(KEY, base_url=server.url, options=options)


def searxng(server: Loopback, options: SearchOptions) -> SearchTool:
    return SearxngSearch(server.url + "/", options=options)


def brave(server: Loopback, options: SearchOptions) -> SearchTool:
    return BraveSearch.with_options(KEY, options, base_url=server.url)


def duckduckgo(server: Loopback, options: SearchOptions) -> SearchTool:
    """The real library, with an engine of its own kind that asks the loopback server."""
    pytest.importorskip("ddgs")
    from ddgs.engines import ENGINES
    from ddgs.engines.duckduckgo import Duckduckgo

    class Loop(Duckduckgo):
        name = "loopback"
        search_url = server.url + "/html/"

    ENGINES["text"]["loopback"] = Loop
    return DuckDuckGoSearch(backend="loopback", options=options)


ANSWERS: dict[Make, Callable[[int], Reply]] = {
    brave: lambda count: json_reply(brave_answer("gold price", count)),
    tavily: lambda count: json_reply(tavily_answer("gold price", count)),
    searxng: lambda count: json_reply(searxng_answer("gold price", count)),
    duckduckgo: lambda count: duckduckgo_page(count),
}
OVER_HTTP = [tavily, searxng]


def search(make: Make, server: Loopback, query: Any = "gold price", **options: Any) -> str:
    tool = make(server, SearchOptions(**{"retry": SOON, **options}))
    return anyio.run(tool.run, {"query": query}, ToolContext()).content


@pytest.mark.parametrize("make", ANSWERS)
def test_all_answer_in_one_form(make: Make) -> None:
    with Loopback(ANSWERS[make](4)) as server:
        answer = json.loads(search(make, server))
        results = anyio.run(make(server, SearchOptions(max_results=1)).find, "gold price").results
    assert answer["query"] == "gold price"
    assert [entry["url"] for entry in answer["top_k"]] == [f"https://example.org/{n}" for n in range(3)]
    assert [result.title for result in results] == ["Result 0 é"]


def test_tavily() -> None:
    with Loopback(json_reply(tavily_answer("gold price"))) as server:
        answer = json.loads(search(tavily, server, freshness="week", safe_search="strict"))
    (request,) = server.requests
    assert answer["top_k"][0] == FIRST
    assert request.path == "/search"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "query": "gold price",
        "max_results": 3,
        "search_depth": "basic",
        "time_range": "week",
        "safe_search": True,
    }


def test_searxng() -> None:
    with Loopback(gzipped(json_reply(searxng_answer("gold price")))) as server:
        answer = json.loads(search(searxng, server, freshness="day", safe_search="moderate"))
    (request,) = server.requests
    assert answer["top_k"][0] == {**FIRST, "date": "2026-01-02T00:00:00"}
    assert answer["top_k"][1]["title"] == "Result 1 é"
    assert request.path == "/search"
    assert request.query == [
        ("q", "gold price"),
        ("format", "json"),
        ("safesearch", "1"),
        ("time_range", "day"),
    ]


def test_brave_options() -> None:
    with Loopback(json_reply(brave_answer("x"))) as server:
        search(brave, server, freshness="month", safe_search="off")
    assert server.requests[0].query == [("q", "gold price"), ("safesearch", "off"), ("freshness", "pm")]


def test_duckduckgo() -> None:
    with Loopback(duckduckgo_page()) as server:
        answer = json.loads(search(duckduckgo, server, freshness="year"))
    assert answer["top_k"][0] == FIRST
    assert b"q=gold+price" in server.requests[0].body
    assert b"df=y" in server.requests[0].body


@pytest.mark.parametrize("make", OVER_HTTP)
def test_no_results(make: Make) -> None:
    with Loopback(ANSWERS[make](0)) as server:
        assert json.loads(search(make, server))["top_k"] == []


@pytest.mark.parametrize("make", [tavily, searxng])
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(404, b"<html>"), "did not accept the request, HTTP 404"),
        (json_reply({}, 429), "limits the number of requests, HTTP 429.*try again later"),
        (json_reply({}, 429, {"Retry-After": "99"}), "try again in 99 s"),
        (Reply(500, b"oops"), "problem of its own, HTTP 500"),
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), r"not JSON \(content type: text/html\)"),
        (Reply(200, b'{"results": ['), "not JSON"),
        (Reply(200, b""), "not JSON"),
        (Reply(200, b"[" * 200_000), "not JSON"),
        (json_reply([1]), "not an object"),
        (json_reply({}, missing=5), "before its answer was whole"),
        (Reply(hang_up=True), "before its answer was whole"),
        (Reply(body=b"x" * 2_500_000), "more than 2 MB"),
        (Reply(302, headers={"Location": "https://evil.example/"}), "redirects"),
    ],
)
def test_what_goes_wrong(make: Make, reply: Reply, words: str) -> None:
    with Loopback(reply) as server, pytest.raises(ToolError, match=words) as caught:
        search(make, server)
    assert str(caught.value).startswith("the search failed: ")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (tavily_error(401, f"Unauthorized: {KEY}"), "refused the key, HTTP 401.*TAVILY_API_KEY"),
        (tavily_error(400, "Query is too long."), "did not accept.*Query is too long"),
        (
            tavily_error(432, "This request exceeds your plan's set usage limit."),
            "plan's limit is reached, HTTP 432",
        ),
        (tavily_error(433, ""), "pay-as-you-go limit is reached, HTTP 433; the user"),
        (json_reply({"detail": "nope\x1b[2J"}, 422), r"HTTP 422 \(nope \[2J\)"),
    ],
)
def test_tavilys_own_errors(reply: Reply, words: str) -> None:
    with Loopback(reply) as server, pytest.raises(ToolError, match=words) as caught:
        search(tavily, server)
    assert KEY not in str(caught.value)


def test_searxngs_own_errors() -> None:
    with Loopback(Reply(403)) as server, pytest.raises(ToolError, match=r"add json to search\.formats"):
        search(searxng, server)
    failed = searxng_answer("x", 0, [["google", "Suspended: CAPTCHA"], ["bing", "timeout"]])
    with (
        Loopback(json_reply(failed)) as server,
        pytest.raises(ToolError, match=r"google: Suspended.*bing: timeout"),
    ):
        search(searxng, server)


@pytest.mark.parametrize("make", OVER_HTTP)
@pytest.mark.parametrize("results", [None, {}, "x", [None, 3, [], {}, {"url": None}, {"url": ["x"]}]])
def test_malformed_results_are_left_out(make: Make, results: Any) -> None:
    with Loopback(json_reply({"results": results, "unresponsive_engines": [3, ["x"]]})) as server:
        assert json.loads(search(make, server)) == {"query": "gold price", "top_k": []}


@pytest.mark.parametrize("make", OVER_HTTP)
def test_rate_limit_is_waited_out(make: Make) -> None:
    with Loopback(json_reply({}, 429, {"Retry-After": "0"}), Reply(503), ANSWERS[make](1)) as server:
        assert len(json.loads(search(make, server))["top_k"]) == 1
    assert len(server.requests) == 3
    assert server.requests[0].body == server.requests[2].body


@pytest.mark.parametrize("make", ANSWERS)
def test_slow_server(make: Make) -> None:
    begun = time.monotonic()
    with Loopback(Reply(200, b"{}", delay=20.0)) as server, pytest.raises(ToolError, match="did not answer"):
        search(make, server, timeout=0.5)
    assert time.monotonic() - begun < 10.0


@pytest.mark.parametrize("make", ANSWERS)
@pytest.mark.parametrize("query", ["", " ", None, 3, "x" * 401])
def test_queries_that_are_none(make: Make, query: Any) -> None:
    with Loopback(ANSWERS[make](1)) as server, pytest.raises(ModelRetry, match="query"):
        search(make, server, query)
    assert server.requests == []


@pytest.mark.parametrize("make", OVER_HTTP)
def test_half_a_surrogate_pair(make: Make) -> None:
    with Loopback(ANSWERS[make](1)) as server:
        assert json.loads(search(make, server, "a\ud800b"))["query"] == "a?b"


@pytest.mark.parametrize(
    "reply", [Reply(200, b"<html>"), Reply(429), Reply(202), Reply(500), Reply(200, b"")]
)
def test_duckduckgo_says_nothing_found_for_everything(reply: Reply) -> None:
    with (
        Loopback(reply) as server,
        pytest.raises(ToolError, match=r"there are none, or it refuses|cannot be asked"),
    ):
        search(duckduckgo, server)


class Broken:
    """A client that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def text(self, query: str, **options: Any) -> list[dict[str, Any]]:
        raise self.error


class RatelimitException(Exception):
    """Called as the library calls its own."""


class TimeoutException(Exception):
    """Called as the library calls its own."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RatelimitException("202"), "limits the number of requests"),
        (TimeoutException(), "did not answer in time"),
        (RuntimeError("operation timed out"), "did not answer in time"),
        (ValueError("odd\x1b[2J"), r"cannot be asked \(odd \[2J\)"),
        (KeyError(), r"cannot be asked \(KeyError\)"),
    ],
)
def test_what_the_duckduckgo_library_raises(error: Exception, words: str) -> None:
    tool = DuckDuckGoSearch(client=lambda timeout: Broken(error))
    with pytest.raises(ToolError, match=words):
        anyio.run(tool.find, "x")


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ddgs", None)
    with pytest.raises(ToolError, match=r"pip install 'arriero\[web\]'"):
        anyio.run(DuckDuckGoSearch().find, "x")


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a\nb"])
def test_a_tavily_key_that_cannot_be_one(key: str) -> None:
    with pytest.raises(ToolError, match="the Tavily key"):
        TavilySearch(key)


@pytest.mark.parametrize("url", ["", "example.org", "file:///x", "http://[", "http://a:b"])
def test_a_searxng_address_that_is_none(url: str) -> None:
    with pytest.raises(ToolError, match="the search failed"):
        anyio.run(SearxngSearch(url).find, "x")


def test_the_tavily_key_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    assert KEY not in repr(TavilySearch(KEY))
    with caplog.at_level(logging.DEBUG), Loopback(json_reply(tavily_answer("x"))) as server:
        search(tavily, server)
    assert KEY not in caplog.text


def test_the_name_stays_the_one_that_the_model_knows() -> None:
    for tool in (BraveSearch("k"), TavilySearch("k"), SearxngSearch("http://x"), DuckDuckGoSearch()):
        assert (tool.name, tool.effect, tool.timeout) == ("brave_search", "read", 11.0)


@pytest.mark.parametrize(
    ("environ", "provider"),
    [
        ({}, None),
        ({"BRAVE_SEARCH_API_KEY": " "}, None),
        ({"BRAVE_API_KEY": "k", "TAVILY_API_KEY": "k", "SEARXNG_URL": "http://x"}, "brave"),
        ({"TAVILY_API_KEY": "k", "SEARXNG_URL": "http://x"}, "tavily"),
        ({"SEARXNG_URL": "http://x"}, "searxng"),
        ({"BRAVE_API_KEY": "k", "TAVILY_API_KEY": "k", "ARRIERO_SEARCH": "Tavily"}, "tavily"),
        ({"BRAVE_API_KEY": "k", "ARRIERO_SEARCH": "searxng"}, None),
    ],
)
def test_the_provider_is_chosen_by_the_environment(environ: dict[str, str], provider: str | None) -> None:
    tool = from_env(environ)
    assert (None if tool is None else tool.provider) == provider


def test_a_named_provider_wins() -> None:
    pytest.importorskip("ddgs")
    tool = from_env({"BRAVE_API_KEY": "k"}, provider="duckduckgo", options=SearchOptions(max_results=7))
    assert isinstance(tool, DuckDuckGoSearch)
    assert "max_results=7" in repr(tool)
    with pytest.raises(ToolError, match="no search provider 'bing'; choose one of brave, tavily"):
        from_env({}, provider="bing")


def test_options_from_the_environment() -> None:
    options = options_from_env({})
    assert (options.safe_search, options.freshness, options.max_results) == (None, None, 3)
    assert "ttl=3600" in repr(options.cache)
    options = options_from_env(
        {
            "ARRIERO_SAFE_SEARCH": "strict",
            "ARRIERO_FRESHNESS": "week",
            "ARRIERO_SEARCH_RESULTS": "7",
            "ARRIERO_SEARCH_CACHE": "0",
        }
    )
    assert (options.safe_search, options.freshness, options.max_results) == ("strict", "week", 7)
    assert options.cache is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARRIERO_SAFE_SEARCH", "very"),
        ("ARRIERO_FRESHNESS", "decade"),
        ("ARRIERO_SEARCH_RESULTS", "0"),
        ("ARRIERO_SEARCH_RESULTS", "21"),
        ("ARRIERO_SEARCH_RESULTS", "9" * 5000),
        ("ARRIERO_SEARCH_CACHE", "-1"),
        ("ARRIERO_SEARCH_CACHE", "an hour"),
    ],
)
def test_options_that_are_none_are_named(name: str, value: str) -> None:
    with pytest.raises(ToolError, match=f"{name} has to be"):
        from_env({"BRAVE_API_KEY": "k", name: value})


def test_the_tool_from_the_environment_asks_the_same_question_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARRIERO_HOME", str(tmp_path))
    with Loopback(json_reply(searxng_answer("x"))) as server:
        for _ in range(2):
            tool = from_env({"SEARXNG_URL": server.url})
            assert tool is not None
            assert "Result 0" in anyio.run(tool.run, {"query": "x"}, ToolContext()).content
        assert len(server.requests) == 1
    assert (tmp_path / "cache" / "search.sqlite3").exists()


def test_help() -> None:
    assert help_for() == KEY_HELP
    assert all("\n" not in help_for(name) for name in PROVIDERS)
    assert "SEARXNG_URL" in help_for("searxng")
