"""Search against a loopback server that speaks Brave's API."""

import json
import logging
import time
from typing import Any

import anyio
import pytest
from loopback import Loopback, Reply, brave_answer, brave_error, brave_rate_limit, gzipped, json_reply

from arriero.tools import ModelRetry, ToolContext, ToolError, ToolResult
from arriero.tools._http import Retry
from arriero.tools.search import KEY_HELP, KEY_VARIABLES, BraveSearch, clean_response, format_results

KEY = "BSA-secret-key"
SOON = Retry(base=0.0)


def search(server: Loopback, query: Any = "gold price", **options: Any) -> ToolResult:
    tool = BraveSearch(KEY, base_url=server.url, **{"retry": SOON, **options})
    return anyio.run(tool.run, {"query": query}, ToolContext())


def test_request_is_the_references() -> None:
    with Loopback(json_reply(brave_answer("gold price"))) as server:
        search(server)
    (request,) = server.requests
    assert request.path == "/res/v1/web/search"
    assert request.query == [("q", "gold price")]
    assert request.headers["x-subscription-token"] == KEY
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["accept"] == "application/json"


@pytest.mark.parametrize("packed", [False, True])
def test_result_as_json(packed: bool) -> None:
    reply = json_reply(brave_answer("gold price"))
    with Loopback(gzipped(reply) if packed else reply) as server:
        result = search(server)
    first = {
        "title": "Result 0 é",
        "url": "https://example.org/0",
        "description": "It's <strong>number</strong> 0",
        "type": "search_result",
        "extra_snippets": ["more"],
    }
    read = json.loads(result.content)
    assert read["query"] == "gold price"
    assert len(read["top_k"]) == 3
    assert list(read["top_k"][0].items()) == list(first.items())
    assert "\\u00e9" in result.content
    assert result.artifacts == ()


def test_result_in_the_form_of_llama_stack() -> None:
    with Loopback(json_reply(brave_answer("x", count=2))) as server:
        lines = search(server, form="llama_stack").content.split("\n")
    assert len(lines) == 2
    assert lines[1].startswith(
        "{'title': 'Result 1 é', 'url': 'https://example.org/1', 'description': \"It's"
    )


def test_number_of_results() -> None:
    with Loopback(json_reply(brave_answer("x"))) as server:
        assert len(json.loads(search(server, max_results=1).content)["top_k"]) == 1


def test_no_results() -> None:
    with Loopback(json_reply({"type": "search", "query": {"original": "zzz"}})) as server:
        assert search(server).content == '{"query": "zzz", "top_k": []}'


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (brave_error(422, "SUBSCRIPTION_TOKEN_INVALID", "The provided token is invalid."), "refused the key"),
        (brave_error(401, "UNAUTHORIZED", "No."), "BRAVE_SEARCH_API_KEY"),
        (brave_error(403, "FORBIDDEN", "No."), "refused the key, HTTP 403"),
        (brave_error(422, "VALIDATION", "q is too long"), r"did not accept the request.*q is too long"),
        (Reply(404, b"<html>"), "HTTP 404"),
        (brave_rate_limit(), "limits the number of requests.*RATE_LIMITED.*try again later"),
        (brave_rate_limit({"Retry-After": "99"}), "try again in 99 s"),
        (
            brave_rate_limit({"X-RateLimit-Remaining": "1, 0", "X-RateLimit-Reset": "1, 86400"}),
            "try again in 86400 s",
        ),
        (Reply(500, b"oops"), "problem of its own, HTTP 500"),
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), r"not JSON \(content type: text/html\)"),
        (Reply(200, b'{"mixed": {'), r"not JSON \(content type: none named\)"),
        (Reply(200, b""), "not JSON"),
        (Reply(200, b"[" * 200_000), "not JSON"),
        (json_reply([1]), "not an object"),
        (brave_error(200, "INTERNAL", "x"), r"answered with an error \(INTERNAL: x\)"),
        (json_reply({"error": {}}), "answered with an error"),
        (json_reply({}, missing=5), "before its answer was whole"),
        (Reply(body=b"x" * 2_500_000), "more than 2 MB"),
        (Reply(302, headers={"Location": "https://evil.example/"}), "another site"),
    ],
)
def test_what_goes_wrong_is_told_without_the_key(reply: Reply, words: str) -> None:
    with Loopback(reply) as server, pytest.raises(ToolError, match=words) as caught:
        search(server)
    assert str(caught.value).startswith("the search failed: ")
    assert KEY not in str(caught.value)


def test_a_key_echoed_by_the_server_is_hidden() -> None:
    reply = brave_error(422, "VALIDATION", f"token {KEY}\x1b[2J is bad")
    with Loopback(reply) as server, pytest.raises(ToolError) as caught:
        search(server)
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_rate_limit_is_waited_out() -> None:
    with Loopback(brave_rate_limit({"Retry-After": "0"}), json_reply(brave_answer("x"))) as server:
        assert json.loads(search(server, "x").content)["query"] == "x"
    assert len(server.requests) == 2


def test_time_limit_covers_the_retries() -> None:
    begun = time.monotonic()
    with Loopback(Reply(503, delay=0.2)) as server, pytest.raises(ToolError):
        search(server, timeout=0.5, retry=Retry(attempts=100, base=0.0))
    assert time.monotonic() - begun < 4.0


@pytest.mark.parametrize("query", ["", "  ", None, 3])
def test_a_query_is_needed(query: Any) -> None:
    with Loopback(json_reply({})) as server, pytest.raises(ModelRetry):
        search(server, query)
    assert server.requests == []


def test_cancel_returns_at_once() -> None:
    async def run(server: Loopback) -> None:
        tool = BraveSearch(KEY, base_url=server.url)
        with anyio.move_on_after(0.2):
            await tool.run({"query": "x"}, ToolContext())

    with Loopback(json_reply({}, delay=30.0)) as server:
        begun = time.monotonic()
        anyio.run(run, server)
        assert time.monotonic() - begun < 4.0


@pytest.mark.parametrize(
    "answer",
    [
        {"mixed": None},
        {"mixed": {}},
        {"mixed": {"main": None}},
        {"mixed": {"main": [None, 3, {}, {"type": None}, {"type": ["web"]}]}},
        {"mixed": {"main": [{"type": "web", "index": 0}]}},
        {"mixed": {"main": [{"type": "web", "index": 0}]}, "web": {"results": []}},
        {"mixed": {"main": [{"type": "web", "index": 5}]}, "web": {"results": [{"type": "x"}]}},
        {"mixed": {"main": [{"type": "web", "index": -1}]}, "web": {"results": [{"type": "x"}]}},
        {"mixed": {"main": [{"type": "web", "index": "0"}]}, "web": {"results": [{"type": "x"}]}},
        {"mixed": {"main": [{"type": "web", "all": True}]}, "web": {"results": [{"type": "x"}]}},
        {"mixed": {"main": [{"type": "web", "index": 0}]}, "web": {"results": ["x"]}},
        {"mixed": {"main": [{"type": "news"}]}, "news": {"results": {}}},
        {"mixed": {"main": [{"type": "news"}]}, "news": []},
        {"query": "not an object"},
        {"query": None},
    ],
)
def test_malformed_entries_are_left_out(answer: dict[str, Any]) -> None:
    assert clean_response(answer) == []
    assert format_results(answer) == '{"query": null, "top_k": []}'
    assert format_results(answer, form="llama_stack") == ""


def test_good_entries_beside_malformed_ones_stay() -> None:
    answer = brave_answer("x", count=1)
    answer["mixed"]["main"].insert(0, {"type": "web", "index": 7})
    answer["news"] = {"results": ["x", {"title": "n", "age": "1h"}]}
    answer["mixed"]["main"].append({"type": "news", "all": True})
    cleaned = clean_response(answer)
    assert len(cleaned) == 2
    assert cleaned[1] == [{"title": "n"}]


def test_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert BraveSearch.from_env() is None
    assert KEY_VARIABLES[0] in KEY_HELP
    monkeypatch.setenv("BRAVE_API_KEY", KEY)
    assert BraveSearch.from_env() is not None
    assert BraveSearch.from_env({"BRAVE_SEARCH_API_KEY": " "}) is None


def test_a_key_that_cannot_be_one() -> None:
    with pytest.raises(ToolError, match="Brave Search key") as caught:
        BraveSearch("secret\nkey")
    assert "secret" not in str(caught.value)


def test_the_key_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    tool = BraveSearch(KEY)
    assert KEY not in repr(tool)
    with caplog.at_level(logging.DEBUG), Loopback(json_reply(brave_answer("x"))) as server:
        search(server)
    assert KEY not in caplog.text


def test_spec() -> None:
    tool = BraveSearch(KEY, timeout=10.0)
    assert tool.name == "brave_search"
    assert tool.effect == "read"
    assert tool.timeout == 11.0
    assert tool.spec.parameters["required"] == ["query"]
