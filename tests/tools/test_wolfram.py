"""Wolfram|Alpha against a loopback server that speaks the Full Results API."""

import json
import logging
import time
from typing import Any

import anyio
import pytest
import wolframalpha
from loopback import Loopback, Reply, gzipped, wolfram_answer

from arriero.tools import Artifact, ModelRetry, ToolContext, ToolError, ToolResult
from arriero.tools._http import Retry
from arriero.tools.wolfram import KEY_HELP, KEY_VARIABLES, WolframAlpha, as_json_shape, clean_response

APPID = "ABCDEF-SECRET1234"
SOON = Retry(base=0.0)


def ask(server: Loopback, query: Any = "2+2", **options: Any) -> str:
    tool = WolframAlpha(APPID, base_url=server.url, **{"retry": SOON, **options})
    return anyio.run(tool.run, {"query": query}, ToolContext()).content


def answered(reply: Reply, query: str = "2+2") -> Any:
    with Loopback(reply) as server:
        return json.loads(ask(server, query))["queryresult"]


def test_request() -> None:
    with Loopback(wolfram_answer("2+2")) as server:
        ask(server)
    (request,) = server.requests
    assert request.path == "/v2/query"
    assert sorted(request.query) == [("appid", APPID), ("format", "plaintext"), ("input", "2+2")]


@pytest.mark.parametrize("packed", [False, True])
def test_result_is_the_references_to_the_byte(packed: bool) -> None:
    reply = wolfram_answer("2+2", [("Input", "2 + 2"), ("Result", "4"), ("Number name", "four")])
    with Loopback(gzipped(reply) if packed else reply) as server:
        content = ask(server)
    assert content == (
        '{"queryresult": {"success": true, "inputstring": "2+2", "pods": ['
        '{"title": "Input", "subpods": [{"title": "", "plaintext": "2 + 2"}]}, '
        '{"title": "Result", "subpods": [{"title": "", "plaintext": "4"}], "primary": true}]}}'
    )


def test_all_pods_stay_when_none_is_the_result() -> None:
    read = answered(wolfram_answer("x^2=4", [("Input", "x^2 = 4"), ("Solutions", "x = ±2"), ("Plot", "")]))
    assert [pod["title"] for pod in read["pods"]] == ["Input", "Solutions", "Plot"]
    assert read["pods"][1]["subpods"][0]["plaintext"] == "x = ±2"
    assert read["pods"][2]["subpods"][0]["plaintext"] == ""


def test_several_subpods_and_their_sources() -> None:
    pod = (
        "<pod title='Results' numsubpods='2'>"
        "<subpod title='one'><plaintext>1 &lt; 2\nline</plaintext>"
        "<microsources><microsource>CountryData</microsource></microsources></subpod>"
        "<subpod title='two'><plaintext/></subpod>"
        "<notes text='n'/></pod>"
    )
    read = answered(wolfram_answer("x", extra=pod))
    assert read["pods"] == [
        {
            "title": "Results",
            "subpods": [
                {"title": "one", "plaintext": "1 < 2\nline", "microsources": {"microsource": "CountryData"}},
                {"title": "two", "plaintext": ""},
            ],
            "notes": {"text": "n"},
        }
    ]


def test_the_packages_own_client_reads_the_same() -> None:
    reply = wolfram_answer(
        "2+2", [("Input", "2 + 2"), ("Result", "4")], content_type="text/xml; charset=utf-8"
    )

    async def ask_directly(url: str) -> Any:
        return await wolframalpha.Client(APPID, url=url).aquery("2+2", format="plaintext")

    with Loopback(reply) as server:
        document = anyio.run(ask_directly, server.url + "/v2/query")
        assert json.dumps(clean_response(as_json_shape(document, "2+2"))) == ask(server)


def test_the_query_stands_in_for_a_missing_input_string() -> None:
    assert answered(wolfram_answer(None), "my query")["inputstring"] == "my query"


def test_no_result_with_a_suggestion_and_a_tip() -> None:
    extra = (
        "<didyoumeans count='1'><didyoumean score='0.4' level='low'>as</didyoumean></didyoumeans>"
        "<tips count='1'><tip text='Check your spelling'/></tips>"
    )
    assert answered(wolfram_answer("asdfgh", success=False, extra=extra)) == {
        "success": False,
        "inputstring": "asdfgh",
        "didyoumeans": {"score": "0.4", "level": "low", "val": "as"},
        "tips": {"text": "Check your spelling"},
    }


def test_several_of_a_kind_are_a_list() -> None:
    extra = (
        "<didyoumeans count='2'><didyoumean score='0.4'>as</didyoumean>"
        "<didyoumean score='0.3'>gh</didyoumean></didyoumeans>"
        "<sources count='1'><source url='u' text='t'/></sources>"
        "<warnings count='2'><spellcheck word='a' suggestion='b' text='c'/><delimiters text='d'/></warnings>"
        "<languagemsg english='e' other='o'/>"
    )
    read = answered(wolfram_answer("x", success=False, extra=extra))
    assert read["didyoumeans"] == [{"score": "0.4", "val": "as"}, {"score": "0.3", "val": "gh"}]
    assert read["sources"] == {"url": "u", "text": "t"}
    assert read["warnings"] == [{"word": "a", "suggestion": "b", "text": "c"}, {"text": "d"}]
    assert read["languagemsg"] == {"english": "e", "other": "o"}


def test_assumptions_are_dropped() -> None:
    extra = "<assumptions count='1'><assumption type='Clash' word='pi'/></assumptions>"
    assert "assumptions" not in answered(wolfram_answer("pi", [("Result", "3.14")], extra=extra))


def test_time_outs_are_told() -> None:
    late = "timedout='Data,Geo' timedoutpods='Plot'"
    read = answered(wolfram_answer("x", [("Result", "1")], attributes=late))
    assert read["timedout"] == "Data,Geo"
    assert read["timedoutpods"] == "Plot"
    assert "parsetimedout" not in read


def test_the_reference_form_has_no_time_outs_and_no_error() -> None:
    given = {
        "queryresult": {
            "success": False,
            "error": {"code": "1", "msg": "Invalid appid"},
            "timedoutpods": "Plot",
            "inputstring": "x",
        }
    }
    assert clean_response(given) == {"queryresult": {"success": False, "inputstring": "x"}}
    assert "error" in given["queryresult"]


@pytest.mark.parametrize("odd", [{}, {"queryresult": None}, {"queryresult": {"pods": None}}, {"x": 1}])
def test_odd_json_is_left_alone(odd: dict[str, Any]) -> None:
    assert clean_response(odd) == odd
    assert clean_response({"queryresult": {"pods": [3]}}) == {"queryresult": {"pods": [3]}}


XML = {"Content-Type": "text/xml; charset=utf-8"}
BAD_APPID = "<error><code>1</code><msg>Invalid appid</msg></error>"
BOMB = b"<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><queryresult>&b;</queryresult>"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            wolfram_answer("x", success=False, error=True, extra=BAD_APPID),
            "the service answered: Error 1: Invalid appid; the user has to check WOLFRAM_ALPHA_APPID",
        ),
        (
            wolfram_answer("x", success=False, error=True, extra=BAD_APPID.replace("Invalid appid", "Busy")),
            "the service answered: Error 1: Busy$",
        ),
        (Reply(200, b"<error status='501' message='gone'/>", XML), "the service answered: Error 501: gone"),
        (wolfram_answer("x", error=True, extra="<error><msg>odd</msg></error>"), "unknown shape"),
        (Reply(200, b"<queryresult success='perhaps'/>", XML), "unknown shape"),
        (Reply(200, b"<queryresult><pod/></queryresult>", XML), "unknown shape"),
        (Reply(200, b"<html/>", XML), "not a query result"),
        (Reply(200, b"<queryresult", XML), "broken XML"),
        (Reply(200, b"", XML), "broken XML"),
        (Reply(200, BOMB, XML), "unknown shape"),
        (
            Reply(200, b"<queryresult>" + b"<a>" * 50_000 + b"</a>" * 50_000 + b"</queryresult>", XML),
            "nested too deeply",
        ),
        (
            Reply(200, b"{}", {"Content-Type": "application/json"}),
            r"not XML \(content type: application/json\)",
        ),
        (Reply(200, b"<queryresult/>"), "content type: none named"),
        (Reply(403, b"Error 1: Invalid appid"), r"refused the key, HTTP 403 \(Error 1: Invalid appid\)"),
        (Reply(400, b"<html>no</html>"), "did not accept the request, HTTP 400$"),
        (Reply(429, headers={"Retry-After": "99"}), "try again in 99 s"),
        (Reply(503), "problem of its own, HTTP 503"),
        (Reply(200, b"<queryresult>", XML, missing=9), "before its answer was whole"),
        (Reply(body=b"x" * 2_500_000), "more than 2 MB"),
    ],
)
def test_what_goes_wrong_is_told_without_the_key(reply: Reply, words: str) -> None:
    with Loopback(reply) as server, pytest.raises(ToolError, match=words) as caught:
        ask(server)
    assert str(caught.value).startswith("the Wolfram|Alpha query failed: ")
    assert APPID not in str(caught.value)


@pytest.mark.parametrize("spelling", ["text/xml;charset=utf-8", "text/xml; charset=UTF-8", "application/xml"])
def test_every_spelling_of_the_content_type(spelling: str) -> None:
    assert answered(wolfram_answer("x", content_type=spelling))["success"] is True


IMAGE = b"GIF89a-picture"


def in_full(reply: Reply, *more: Reply, query: str = "x", **options: Any) -> tuple[ToolResult, Loopback]:
    with Loopback(reply, *more) as server:
        tool = WolframAlpha(APPID, base_url=server.url, retry=SOON, **options)
        return anyio.run(tool.run, {"query": query}, ToolContext()), server


def compact(reply: Reply, query: str = "x") -> str:
    return in_full(reply, query=query, form="compact")[0].content


def test_compact_form() -> None:
    extra = (
        "<assumptions count='1'><assumption type='Clash' word='pi' template='…' count='2'>"
        "<value name='a' desc='a mathematical constant'/><value name='b' desc='a movie'/></assumption></assumptions>"
        "<warnings count='1'>"
        "<spellcheck word='pii' suggestion='pi' text='Interpreting &quot;pii&quot; as &quot;pi&quot;'/></warnings>"
    )
    pods = [("Input", "π"), ("Result", "3.14159…"), ("Table", "a | 1\nb | 2"), ("Plot", "")]
    reply = wolfram_answer("pii", pods, extra=extra, attributes="timedoutpods='Series'")
    assert compact(reply) == (
        'Note: Interpreting "pii" as "pi"\n'
        'Taken: "pi" as a mathematical constant (not as a movie)\n'
        "Input: π\nResult: 3.14159…\nTable:\na | 1\nb | 2\nNot finished in time: Series"
    )


def test_compact_form_leaves_out_whole_parts() -> None:
    text = compact(wolfram_answer("x", [("One", "1" * 6000), ("Two", "2" * 6000), ("Three", "3")]))
    assert text.endswith("Three: 3\n[left out: Two]")
    assert len(text) < 6100
    assert len(compact(wolfram_answer("x", [("One", "1" * 60_000)]))) == 6800
    assert "no text" in compact(wolfram_answer("x", [("Plot", "")]))


SUGGESTED = (
    "<didyoumeans count='2'><didyoumean score='0.4'>as</didyoumean><didyoumean>gh</didyoumean></didyoumeans>"
    "<tips count='1'><tip text='Check your spelling'/></tips>"
)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (
            wolfram_answer("x", success=False, extra=SUGGESTED),
            'Wolfram|Alpha has no result for "x".\nDid you mean: as | gh\nTip: Check your spelling',
        ),
        (wolfram_answer("x", success=False), 'Wolfram|Alpha has no result for "x".'),
        (
            wolfram_answer("x", success=False, extra="<languagemsg english='No French yet.' other='…'/>"),
            'Wolfram|Alpha has no result for "x".\nNo French yet.',
        ),
        (
            wolfram_answer("x", success=False, extra="<futuretopic topic='Knots' msg='Under development'/>"),
            'Wolfram|Alpha has no result for "x".\nKnots: Under development',
        ),
        (
            Reply(200, b"<queryresult success='false' parsetimedout='true'/>", {"Content-Type": "text/xml"}),
            "Wolfram|Alpha ran out of time before it understood the query; ask again, or ask for less.",
        ),
    ],
)
def test_no_result_is_told_as_what_it_is(reply: Reply, text: str) -> None:
    result, _ = in_full(reply, form="compact")
    assert result.content == text
    assert result.error
    assert in_full(reply)[0].error


def test_units_and_location() -> None:
    def asked(**options: Any) -> list[tuple[str, str]]:
        (request,) = in_full(wolfram_answer("x"), **options)[1].requests
        return [pair for pair in request.query if pair[0] not in ("input", "appid", "format")]

    assert asked() == []
    assert asked(units="metric", location="Quito") == [("units", "metric"), ("location", "Quito")]
    assert asked(units="imperial", location="-0.22, -78.5") == [
        ("units", "imperial"),
        ("latlong", "-0.22,-78.5"),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"units": "furlongs"}, "'furlongs' is not known; choose one of metric, imperial"),
        ({"form": "xml"}, "'xml' is not known; choose one of reference, compact"),
        ({"location": " "}, "location is empty"),
    ],
)
def test_options_that_are_none(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolError, match=words):
        WolframAlpha(APPID, **options)


def pictured(*sources: str) -> Reply:
    pods = "".join(
        f"<pod title='Plot {n}'><subpod title=''><plaintext/><img src='{source}' alt='a' width='3'/></subpod></pod>"
        for n, source in enumerate(sources, 1)
    )
    return wolfram_answer("x", extra=pods)


@pytest.mark.parametrize("form", ["reference", "compact"])
def test_images_are_artifacts_that_the_text_names(form: Any) -> None:
    with Loopback(Reply()) as server:
        server.replies = [pictured(f"{server.url}/MSP/1?MSPStoreType=image/gif"), Reply(200, IMAGE)]
        tool = WolframAlpha(APPID, base_url=server.url, retry=SOON, images=True, form=form)
        result = anyio.run(tool.run, {"query": "x"}, ToolContext())
    first, second = server.requests
    assert ("format", "plaintext,image") in first.query
    assert second.path == "/MSP/1"
    assert APPID not in str(second)
    assert result.artifacts == (Artifact("wolfram-1-plot-1.gif", "image/gif", IMAGE),)
    if form == "compact":
        assert result.content == "Plot 1: [image: wolfram-1-plot-1.gif]"
    else:
        (pod,) = json.loads(result.content)["queryresult"]["pods"]
        assert pod["subpods"] == [{"title": "", "plaintext": "", "image": "wolfram-1-plot-1.gif"}]


@pytest.mark.parametrize(
    "source",
    [
        "http://127.0.0.1:1/x.gif",
        "http://www6b3.wolframalpha.com/x.gif",
        "https://wolframalpha.com.example.org/x.gif",
        "https://evilwolframalpha.com/x.gif",
        "https://www.wolframalpha.com:8443/x.gif",
        "https://user@www.wolframalpha.com/x.gif",
        "https://[/x.gif",
        "file:///etc/passwd",
        "",
    ],
)
def test_images_elsewhere_are_not_fetched(source: str) -> None:
    result, server = in_full(pictured(source), images=True, form="compact")
    assert len(server.requests) == 1
    assert result.artifacts == ()
    assert "not fetched: it is not at the service's own address" in result.content


@pytest.mark.parametrize(
    "reply",
    [Reply(404), Reply(200, b"<html>"), Reply(200, b"GIF8" + b"x" * 1_100_000), Reply(200, b"%PDF-1.4")],
)
def test_images_that_cannot_be_had_do_not_spoil_the_answer(reply: Reply) -> None:
    with Loopback(Reply()) as server:
        server.replies = [pictured(f"{server.url}/1"), reply]
        tool = WolframAlpha(APPID, base_url=server.url, retry=SOON, images=True, form="compact")
        result = anyio.run(tool.run, {"query": "x"}, ToolContext())
    assert result.content == "Plot 1: [image: could not be fetched]"
    assert not result.error


def test_so_many_images_and_no_more() -> None:
    with Loopback(Reply()) as server:
        server.replies = [pictured(*[f"{server.url}/{n}" for n in range(12)]), Reply(200, IMAGE)]
        tool = WolframAlpha(APPID, base_url=server.url, retry=SOON, images=True, form="compact")
        result = anyio.run(tool.run, {"query": "x"}, ToolContext())
    assert len(result.artifacts) == 10
    assert len(server.requests) == 11
    assert result.content.count("there are too many") == 2


def test_slow_answer() -> None:
    with Loopback(wolfram_answer("x"), Reply(delay=30.0)) as server:
        ask(server)  # The first call imports the package, which must not count.
        begun = time.monotonic()
        with pytest.raises(ToolError, match=r"did not answer within 0\.3 s"):
            ask(server, timeout=0.3)
        assert time.monotonic() - begun < 4.0


@pytest.mark.parametrize("query", ["", "\n", None, []])
def test_a_query_is_needed(query: Any) -> None:
    with Loopback(wolfram_answer("x")) as server, pytest.raises(ModelRetry):
        ask(server, query)
    assert server.requests == []


def test_key_from_the_environment() -> None:
    assert WolframAlpha.from_env({}) is None
    assert KEY_VARIABLES[0] in KEY_HELP
    for name in KEY_VARIABLES:
        assert WolframAlpha.from_env({name: APPID}) is not None


def test_options_from_the_environment() -> None:
    environ = {KEY_VARIABLES[0]: APPID, "ARRIERO_UNITS": "metric", "ARRIERO_WOLFRAM_FORM": "compact"}
    tool = WolframAlpha.from_env(environ)
    assert repr(tool) == "WolframAlpha(form='compact')"
    for name in ("ARRIERO_UNITS", "ARRIERO_WOLFRAM_FORM"):
        with pytest.raises(ToolError, match=f"{name} 'nonsense' is not known"):
            WolframAlpha.from_env({KEY_VARIABLES[0]: APPID, name: "nonsense"})


def test_a_key_that_cannot_be_one() -> None:
    with pytest.raises(ToolError, match="AppID"):
        WolframAlpha("")


def test_the_key_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    assert APPID not in repr(WolframAlpha(APPID))
    with caplog.at_level(logging.DEBUG), Loopback(wolfram_answer("x")) as server:
        ask(server)
    assert APPID not in caplog.text


def test_spec() -> None:
    tool = WolframAlpha(APPID)
    assert tool.name == "wolfram_alpha"
    assert tool.effect == "read"
    assert tool.timeout == 31.0
