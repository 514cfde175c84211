"""The HTTP module against loopback servers that behave and misbehave."""

import gzip
import logging
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import httpx
import pytest
from loopback import Loopback, Reply, gzipped, json_reply

from arriero.tools import ToolError
from arriero.tools._http import (
    HttpError,
    HttpResponse,
    Retry,
    get,
    one_line,
    printable_key,
    redact,
    require_ok,
    retry_after,
)

SOON = Retry(base=0.0)
ONCE = Retry(attempts=1)


def fetch(url: str, **options: object) -> HttpResponse:
    async def run() -> HttpResponse:
        return await get(url, **options)  # type: ignore[arg-type]

    return anyio.run(run)


def test_request_and_answer() -> None:
    with Loopback(json_reply({"a": 1})) as server:
        answer = fetch(server.url + "/x", params=[("q", "a b&c=é")], headers={"X-Token": "t"})
    assert answer.json() == {"a": 1}
    assert answer.content_type == "application/json"
    (request,) = server.requests
    assert request.path == "/x"
    assert request.query == [("q", "a b&c=é")]
    assert request.headers["x-token"] == "t"
    assert request.headers["user-agent"].startswith("arriero")


def test_half_a_surrogate_pair_is_sent_as_a_question_mark() -> None:
    with Loopback(json_reply({})) as server:
        fetch(server.url, params=[("q", "a\ud800b")])
    assert server.requests[0].query == [("q", "a?b")]


def test_gzip_is_unpacked() -> None:
    with Loopback(gzipped(json_reply({"text": "x" * 10_000}))) as server:
        assert fetch(server.url).json() == {"text": "x" * 10_000}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_transient_statuses_are_retried(status: int) -> None:
    with Loopback(Reply(status), Reply(status), json_reply({"a": 1})) as server:
        assert fetch(server.url, retry=SOON).json() == {"a": 1}
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 501])
def test_other_statuses_are_not(status: int) -> None:
    with Loopback(Reply(status)) as server:
        assert fetch(server.url, retry=SOON).status == status
    assert len(server.requests) == 1


def test_the_last_answer_is_returned_when_retries_are_used_up() -> None:
    with Loopback(Reply(503)) as server:
        assert fetch(server.url, retry=SOON).status == 503
    assert len(server.requests) == 3


def test_retry_after_in_seconds_is_waited_for() -> None:
    with Loopback(Reply(429, headers={"Retry-After": "1"}), json_reply({})) as server:
        begun = time.monotonic()
        assert fetch(server.url, retry=SOON).status == 200
    assert time.monotonic() - begun >= 1.0


def test_retry_after_beyond_the_time_limit_is_not() -> None:
    with Loopback(Reply(429, headers={"Retry-After": "3600"})) as server:
        begun = time.monotonic()
        assert fetch(server.url, time_limit=5.0).status == 429
    assert time.monotonic() - begun < 4.0
    assert len(server.requests) == 1


def test_retry_after_as_a_date() -> None:
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    date = format_datetime(now + timedelta(seconds=30), usegmt=True)
    assert retry_after(HttpResponse(429, {"retry-after": date}, b""), now=now.timestamp()) == 30.0
    past = format_datetime(now - timedelta(seconds=30), usegmt=True)
    assert retry_after(HttpResponse(429, {"retry-after": past}, b""), now=now.timestamp()) == 0.0


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "٣", "Sat, 99 Nov 2026 99:99:99 GMT", ""])
def test_unusable_retry_after_is_ignored(value: str) -> None:
    assert retry_after(HttpResponse(429, {"retry-after": value}, b"")) is None


def test_brave_rate_limit_windows() -> None:
    headers = {"x-ratelimit-remaining": "0, 1000", "x-ratelimit-reset": "1, 1419704"}
    assert retry_after(HttpResponse(429, headers, b"")) == 1.0
    headers["x-ratelimit-remaining"] = "1, 0"
    assert retry_after(HttpResponse(429, headers, b"")) == 1419704.0
    assert retry_after(HttpResponse(200, headers, b"")) is None


def test_waits_grow_have_jitter_and_a_cap() -> None:
    retry = Retry(base=1.0, cap=3.0, draw=lambda: 0.5)
    assert [retry.wait(n, None) for n in range(4)] == [0.5, 1.0, 1.5, 1.5]


def test_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(HttpError, match=r"cannot reach 127\.0\.0\.1") as caught:
            fetch(f"http://127.0.0.1:{port}/?appid=KEY", retry=SOON)
    assert caught.value.kind == "connection"
    assert "KEY" not in str(caught.value)


def test_a_dropped_connection_is_retried() -> None:
    with Loopback(Reply(hang_up=True), json_reply({"a": 1})) as server:
        assert fetch(server.url, retry=SOON).json() == {"a": 1}
    assert len(server.requests) == 2


def test_half_an_answer() -> None:
    with (
        Loopback(json_reply({"a": 1}, missing=10)) as server,
        pytest.raises(HttpError, match="before its answer was whole") as caught,
    ):
        fetch(server.url, retry=SOON)
    assert caught.value.kind == "truncated"
    assert len(server.requests) == 3


def test_half_a_compressed_answer() -> None:
    with (
        Loopback(gzipped(json_reply({"a": 1}), keep=20)) as server,
        pytest.raises(HttpError, match="compressed body ends early"),
    ):
        fetch(server.url, retry=ONCE)


def test_broken_compression() -> None:
    with (
        Loopback(Reply(body=b"not gzip", headers={"Content-Encoding": "gzip"})) as server,
        pytest.raises(HttpError, match="cannot be decompressed"),
    ):
        fetch(server.url)


def test_unasked_encoding() -> None:
    with (
        Loopback(Reply(body=b"x", headers={"Content-Encoding": "br"})) as server,
        pytest.raises(HttpError, match="not asked for"),
    ):
        fetch(server.url)


def test_too_large() -> None:
    with (
        Loopback(Reply(body=b"x" * 3_000_000)) as server,
        pytest.raises(HttpError, match="more than 2 MB") as caught,
    ):
        fetch(server.url)
    assert caught.value.kind == "too_large"
    assert len(server.requests) == 1


def test_too_large_after_decompression() -> None:
    body = gzip.compress(bytes(50_000_000))
    assert len(body) < 100_000
    with (
        Loopback(Reply(body=body, headers={"Content-Encoding": "gzip"})) as server,
        pytest.raises(HttpError, match="more than 2 MB"),
    ):
        fetch(server.url)


def test_exactly_the_limit_is_fine() -> None:
    with Loopback(gzipped(Reply(body=b"x" * 1000))) as server:
        assert len(fetch(server.url, max_bytes=1000).body) == 1000


def test_slow_answer() -> None:
    with Loopback(json_reply({}, delay=30.0)) as server:
        begun = time.monotonic()
        with pytest.raises(HttpError, match=r"did not answer within 0\.3 s") as caught:
            fetch(server.url, time_limit=0.3)
        assert time.monotonic() - begun < 4.0
    assert caught.value.kind == "timeout"


def test_redirect_on_the_same_site_is_followed() -> None:
    with Loopback(Reply(301, headers={"Location": "/there"}), json_reply({"a": 1})) as server:
        assert fetch(server.url + "/here").json() == {"a": 1}
    assert [request.path for request in server.requests] == ["/here", "/there"]


def test_redirect_to_another_site_is_refused_and_gets_no_key() -> None:
    with Loopback(json_reply({})) as other:
        away = Reply(302, headers={"Location": other.url + "/steal"})
        with Loopback(away) as server, pytest.raises(HttpError, match="another site") as caught:
            fetch(server.url, headers={"X-Subscription-Token": "KEY"})
    assert caught.value.kind == "redirect"
    assert other.requests == []


def test_endless_redirects() -> None:
    with (
        Loopback(Reply(307, headers={"Location": "/again"})) as server,
        pytest.raises(HttpError, match="more than 3 times"),
    ):
        fetch(server.url)
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "url", ["", "ftp://example.org", "example.org", "https://", "http://[::1", "http://h:99999999"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(HttpError, match="must start with") as caught:
        fetch(url)
    assert caught.value.kind == "address"


@pytest.mark.parametrize("text", ["x" * 70_000, "é" * 1_000_000])
def test_a_request_that_is_too_long(text: str) -> None:
    with Loopback(json_reply({})) as server, pytest.raises(HttpError, match="too long"):
        fetch(server.url, params=[("q", text)])
    assert server.requests == []


def test_control_characters_in_a_parameter() -> None:
    with Loopback(json_reply({})) as server:
        fetch(server.url, params=[("q", "a\x00\r\nX-Evil: 1\x7f")])
    assert server.requests[0].query == [("q", "a\x00\r\nX-Evil: 1\x7f")]
    assert "x-evil" not in server.requests[0].headers


def test_a_proxy_setting_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "gopher://127.0.0.1:1")
    with pytest.raises(HttpError, match="http_proxy"):
        fetch("http://example.invalid/")


def test_a_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(json_reply({"through": "proxy"})) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert fetch("http://example.invalid/x").json() == {"through": "proxy"}
    assert proxy.requests[0].headers["host"] == "example.invalid"


def test_a_given_transport_is_used_and_left_open() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"host": request.url.host}))
    assert fetch("https://api.example.org/", transport=transport).json() == {"host": "api.example.org"}


def test_no_log_line_holds_the_address(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), Loopback(json_reply({})) as server:
        fetch(server.url, params=[("appid", "SECRET-1")], headers={"X-Subscription-Token": "SECRET-2"})
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refused the key"),
        (403, "check THE_KEY"),
        (404, "did not accept"),
        (429, "try again later"),
        (500, "problem of its own"),
    ],
)
def test_statuses_are_explained(status: int, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        require_ok(HttpResponse(status, {}, b""), service="X", key_variable="THE_KEY")


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "clé", "a b", "a\x00"])
def test_keys_that_cannot_be_one(key: str) -> None:
    with pytest.raises(ToolError) as caught:
        printable_key("the key", key)
    assert key.strip() == "" or key not in str(caught.value)


def test_small_texts() -> None:
    assert printable_key("k", " abc\n") == "abc"
    assert redact("key=abc", "abc") == "key=***"
    assert one_line("a\n\x1b[31m b") == "a [31m b"
    assert one_line(3) == ""
    assert len(one_line("x" * 1000)) == 200


def test_json_that_is_none() -> None:
    for body in (b"", b"{", b"\xff\xfe\xfd", b"[" * 100_000):
        with pytest.raises(ValueError):  # noqa: PT011
            HttpResponse(200, {}, body).json()


def test_importing_the_tools_loads_no_client_library() -> None:
    code = (
        "import sys, arriero.tools.search, arriero.tools.wolfram, arriero.tools.function;"
        "print([m for m in ('httpx', 'rich', 'wolframalpha', 'griffe') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
