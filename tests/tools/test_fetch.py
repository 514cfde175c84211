"""Reading pages from a loopback server, and refusing everything that is not public."""

import ipaddress
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from loopback import Loopback, Reply, gzipped
from pdf import make_pdf

from arriero.tools import ModelRetry, ToolContext, ToolError
from arriero.tools._address import Allowed, why_not_public
from arriero.tools.fetch import FetchPage

HTML = {"Content-Type": "text/html; charset=utf-8"}


class Names:
    """A name service that gives its answers in turn, and the last one from then on."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def fetch(url: Any, **options: Any) -> str:
    tool = FetchPage(**{"allow": ["127.0.0.1"], **options})
    return anyio.run(tool.run, {"url": url}, ToolContext()).content


def page(body: str, **headers: str) -> Reply:
    return Reply(200, body.encode(), {**HTML, **headers})


def test_a_page() -> None:
    with Loopback(page("<title>Gold</title><p>It costs é.")) as server:
        assert fetch(server.url + "/a?b=c#d") == f"Title: Gold\nAddress: {server.url}/a?b=c#d\n\nIt costs é."
    (request,) = server.requests
    assert (request.path, request.query) == ("/a", [("b", "c")])
    assert request.headers["host"] == server.url.removeprefix("http://")
    assert "cookie" not in request.headers


def test_the_article_is_found_in_a_page() -> None:
    pytest.importorskip("readability")
    article = "".join(
        f"<p>Sentence {n} of the article, with commas, and more words to read.</p>" for n in range(30)
    )
    menu = "".join(f"<li><a href='/{n}'>Menu item {n}</a></li>" for n in range(20))
    html = f"<title>T</title><div class='sidebar'><ul>{menu}</ul></div><div class='content'>{article}</div>"
    with Loopback(page(html)) as server:
        text = fetch(server.url)
    assert "Sentence 29" in text
    assert "Menu item" not in text


def test_a_page_that_is_all_navigation_is_shown() -> None:
    with Loopback(page("<nav><a>one</a></nav>")) as server:
        assert fetch(server.url).endswith("\n\none")


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"plain\r\x07 text", "text/plain", "plain text"),
        (b'{"a":[1,"\xc3\xa9"]}', "application/json", '{\n "a": [\n  1,\n  "é"\n ]\n}'),
        (b'{"a":', "application/ld+json", '{"a":'),
        (b"[" * 100_000, "application/json", "["),
        (b"<a>x</a>", "application/xml", "<a>x</a>"),
        (b"<html><p>x", "", "x"),
        (b"just text", "", "just text"),
        ("é".encode("latin-1"), "text/plain; charset=ISO-8859-1", "é"),
        (b"\x93q\x94", "text/plain; charset=iso-8859-1", "“q”"),
        ("жук".encode("koi8-r"), "text/plain; charset=koi8-r", "жук"),
        (b'<meta charset="shift_jis"><p>' + "日本".encode("shift_jis"), "text/html", "日本"),
        ("é".encode("utf-16"), "text/plain", "é"),
        (b"caf\xe9", "text/plain; charset=utf-8", "caf\ufffd"),
        (b"caf\xe9", "text/plain; charset=hex", "café"),
        (b"caf\xe9", "text/plain; charset=idna", "café"),
    ],
)
def test_types_and_charsets(body: bytes, kind: str, text: str) -> None:
    with Loopback(Reply(200, body, {"Content-Type": kind} if kind else {})) as server:
        assert fetch(server.url).partition("\n\n")[2].startswith(text)


def test_gzip() -> None:
    with Loopback(gzipped(page("<p>" + "x" * 1000))) as server:
        assert fetch(server.url).endswith("x" * 1000)


def test_long_text_is_cut() -> None:
    with Loopback(page("<p>" + "word " * 100)) as server:
        text = fetch(server.url, max_chars=50)
    assert text.endswith("[cut here: the first 50 of 499 characters]")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(404), "no such page at 127.0.0.1, HTTP 404"),
        (Reply(403), "does not let us read"),
        (Reply(429), "try again later"),
        (Reply(503), "a problem of its own, HTTP 503"),
        (Reply(418), "HTTP 418"),
        (Reply(302), "HTTP 302"),
        (Reply(200, b"\x89PNG", {"Content-Type": "image/png"}), "of type image/png, which cannot be read"),
        (Reply(200, b"\0\1", {}), "of type application/octet-stream"),
        (Reply(200, b"", HTML), "no text"),
        (Reply(200, b"<script>x</script>", HTML), "no text"),
        (Reply(200, b"x" * 3000, HTML), "more than 0.002 MB"),
        (Reply(200, b"x", HTML, missing=5), "before its answer was whole"),
        (Reply(hang_up=True), "before its answer was whole"),
        (Reply(200, b"%PDF-1.7 broken", {"Content-Type": "application/pdf"}), "PDF"),
        (Reply(302, headers={"Location": "http://a:b/"}), "broken address"),
        (Reply(302, headers={"Location": "file:///etc/passwd"}), "not file"),
        (Reply(302, headers={"Location": "/again"}), "redirects more than 5 times"),
    ],
)
def test_what_goes_wrong(reply: Reply, words: str) -> None:
    with Loopback(reply) as server, pytest.raises(ToolError, match=words):
        fetch(server.url, max_bytes=2000)


def test_slow_server() -> None:
    begun = time.monotonic()
    with (
        Loopback(Reply(200, b"x", HTML, delay=30.0)) as server,
        pytest.raises(ToolError, match=r"within 0\.3 s"),
    ):
        fetch(server.url, timeout=0.3)
    assert time.monotonic() - begun < 10.0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "needs a url"),
        (None, "needs a url"),
        (3, "needs a url"),
        ("http://a:b/", "not an address"),
        ("example.org", "only https and http"),
        ("ftp://example.org/", "not ftp"),
        ("javascript:alert(1)", "not javascript"),
        ("http:///x", "names no host"),
        ("http://user:secret@127.0.0.1/", "user name or password"),
        ("http://a\ud800b.invalid/", "no"),
        ("http://" + "a" * 300 + ".invalid/", "no host"),
    ],
)
def test_addresses_that_are_none(url: Any, words: str) -> None:
    with pytest.raises(ToolError, match=words) as caught:
        fetch(url, resolve=Names([]))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "169.254.169.254",
    ],
)
def test_this_machine_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(ToolError, match=r"it has an? .* address|no host named"):
        fetch(f"http://{host}/", allow=())


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "reserved"),
        ("127.8.8.8", "loopback"),
        ("169.254.169.254", "link-local"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "private"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "private"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fe80::1", "link-local"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("ff0e::1", "multicast"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "tunnel"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "tunnel"),
        ("::7f00:1", "reserved"),
        ("192.0.0.192", "reserved"),
        ("168.63.129.16", "reserved"),
        ("::ffff:168.63.129.16", "reserved"),
        ("100.100.100.200", "reserved"),
        ("64:ff9b:1::a9fe:a9fe", "reserved"),
        ("8.8.8.8", ""),
        ("2606:4700::1111", ""),
        ("::ffff:8.8.8.8", ""),
        ("64:ff9b::808:808", ""),
    ],
)
def test_kinds_of_address(address: str, kind: str) -> None:
    assert why_not_public(ipaddress.ip_address(address)).rpartition(" ")[2] == kind


def test_one_bad_address_among_good_ones_is_enough() -> None:
    with pytest.raises(ToolError, match=r"a private address \(10.0.0.1\)"):
        fetch("http://pages.test/", allow=(), resolve=Names(["8.8.8.8", "10.0.0.1"]))


def test_each_hop_is_checked() -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    with Loopback(Reply(302, headers={"Location": "http://metadata.test/latest"})) as server:
        port = server.url.rpartition(":")[2]
        with pytest.raises(ToolError, match=r"metadata.test is not fetched: it has a link-local"):
            fetch(f"http://pages.test:{port}/", allow=["pages.test"], resolve=names)
    assert names.asked == [("pages.test", int(port)), ("metadata.test", 80)]


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    with Loopback(page("<p>one")) as server:
        port = server.url.rpartition(":")[2]
        assert fetch(f"http://pages.test:{port}/", resolve=names).endswith("one")
    assert len(names.asked) == 1
    assert server.requests[0].headers["host"] == f"pages.test:{port}"


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    with Loopback(page("<p>one")) as server:
        port = server.url.rpartition(":")[2]
        names = Names(["127.0.0.2", "127.0.0.1"])
        assert fetch(f"http://pages.test:{port}/", allow=["pages.test"], resolve=names).endswith("one")


def test_nothing_listens() -> None:
    with Loopback(Reply()) as server:
        url = server.url
    with pytest.raises(ToolError, match="cannot reach 127"):
        fetch(url)


def test_a_redirect_to_a_good_place_is_followed() -> None:
    with Loopback(Reply(301, headers={"Location": "/b?c"}), page("<p>there")) as server:
        assert fetch(server.url + "/a") == f"Address: {server.url}/b?c\n\nthere"


def test_ports() -> None:
    with pytest.raises(ToolError, match="port 22 is not allowed"):
        fetch("http://pages.test:22/", allow=(), resolve=Names(["8.8.8.8"]))
    with pytest.raises(ToolError, match="port 22 is not allowed"):
        fetch("http://pages.test:22/", allow=["10.0.0.0/8"], resolve=Names(["8.8.8.8"]))


@pytest.mark.parametrize(
    ("entry", "host", "port", "fits"),
    [
        ("wiki.corp", "Wiki.Corp.", 80, True),
        ("wiki.corp:8080", "wiki.corp", 80, False),
        ("wiki.corp", "xwiki.corp", 80, False),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 80, True),
        ("10.0.0.0/8:443", "10.1.2.3", 80, False),
        ("10.0.0.0/8", "11.0.0.1", 80, False),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("[fd00::/8]:443", "fd00::1", 443, True),
        ("fd00::1", "fd00::1", 80, True),
    ],
)
def test_allow(entry: str, host: str, port: int, fits: bool) -> None:
    allowed = Allowed.read(entry)
    try:
        assert allowed.has_address(ipaddress.ip_address(host), port) is fits
    except ValueError:
        assert allowed.has_host(host, port) is fits


@pytest.mark.parametrize("entry", ["", " ", "a b", "http://x", "x:99999", "x:", "*.x", "10.0.0.0/99"])
def test_allow_entries_that_are_none(entry: str) -> None:
    with pytest.raises(ValueError, match=r"port|neither"):
        FetchPage(allow=[entry])


def test_proxy_settings_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Loopback(page("<p>direct")) as server:
        assert fetch(server.url).endswith("direct")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of pages.test in one file, valid for a day."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "pages.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=pages.test"
    names = ["-addext", "subjectAltName=DNS:pages.test", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([*made.split(), *names], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.mark.parametrize("host", ["pages.test", "other.test"])
def test_tls_is_checked_against_the_name_and_not_the_address(host: str, certificate: Path) -> None:
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda connection, name, context: asked.append(name)

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(65536)
                secured.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nsecret"
                )
        except OSError:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        url = f"https://{host}:{listener.getsockname()[1]}/"
        tls = ssl.create_default_context(cafile=f"{certificate}.crt")
        try:
            if host == "pages.test":
                assert fetch(url, resolve=Names(["127.0.0.1"]), tls=tls).endswith("secret")
            else:
                with pytest.raises(ToolError, match="cannot reach other"):
                    fetch(url, resolve=Names(["127.0.0.1"]), tls=tls)
        finally:
            thread.join(10)
    assert asked == [host]


def test_cancel_returns_at_once() -> None:
    async def run(url: str) -> None:
        with anyio.move_on_after(0.2):
            await FetchPage(allow=["127.0.0.1"]).run({"url": url}, ToolContext())

    with Loopback(Reply(delay=30.0)) as server:
        begun = time.monotonic()
        anyio.run(run, server.url)
        assert time.monotonic() - begun < 10.0


def test_spec() -> None:
    tool = FetchPage(timeout=5.0)
    assert (tool.name, tool.effect, tool.timeout) == ("fetch_page", "read", 6.0)
    assert json.dumps(tool.spec.parameters)
    with pytest.raises(ModelRetry):
        fetch(" ")


def test_pdf() -> None:
    pytest.importorskip("pypdf")
    reply = Reply(200, make_pdf("gold", "", "silver", title="Metals"), {"Content-Type": "application/pdf"})
    with Loopback(reply) as server:
        assert fetch(server.url).startswith("Title: Metals\n")
        assert fetch(server.url).endswith("\n\n[page 1]\ngold\n\n[page 3]\nsilver")


@pytest.mark.parametrize("missing", ["pypdf", "readability"])
def test_without_the_extras(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "readability":
        with Loopback(page("<p>" + "word " * 500)) as server:
            assert "word word" in fetch(server.url)
    else:
        with (
            Loopback(Reply(200, make_pdf("gold"))) as server,
            pytest.raises(ToolError, match=r"arriero\[pdf\]"),
        ):
            fetch(server.url)


def test_exceptions_from_the_environment() -> None:
    with Loopback(Reply(200, b"hello", {"Content-Type": "text/plain"})) as server:
        host = server.url.removeprefix("http://")
        tool = FetchPage.from_env({"ARRIERO_FETCH_ALLOW": f"wiki.corp, {host},"})
        assert "hello" in anyio.run(tool.run, {"url": server.url}, ToolContext()).content
        with pytest.raises(ToolError, match="loopback"):
            anyio.run(
                FetchPage.from_env({}).run, {"url": server.url.replace(host, "127.0.0.1")}, ToolContext()
            )
    with pytest.raises(ToolError, match="ARRIERO_FETCH_ALLOW: 'a b' is neither"):
        FetchPage.from_env({"ARRIERO_FETCH_ALLOW": "a b"})
