"""HTML as text: what is kept, where it stood, and that nothing breaks the reader."""

import time

import pytest

from arriero.tools._html import Block, read_html

PAGE = """<!doctype html>
<html><head><title> Gold
 price </title><style>p { color: red }</style><script>var a = "<p>no</p>";</script></head>
<body><nav><a href="/">Home</a></nav>
<h1>Gold</h1>
<p>It costs <b>2,000</b> dollars&nbsp;&amp; more.
Today.</p>
<ul><li>one</li><li><p>two</p></li><li></li></ul>
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
<pre>
  x = 1
    y = 2
</pre>
<footer>imprint</footer></body></html>"""


def test_blocks_and_their_lines() -> None:
    page = read_html(PAGE)
    assert page.title == "Gold price"
    assert page.blocks == (
        Block(5, "# Gold"),
        Block(6, "It costs 2,000 dollars & more. Today."),
        Block(8, "- one"),
        Block(8, "- two"),
        Block(9, "a | b"),
        Block(9, "1 | 2"),
        Block(11, "  x = 1\n    y = 2"),
    )


def test_text_keeps_items_and_rows_together() -> None:
    text = read_html(PAGE).text
    assert "# Gold\n\nIt costs" in text
    assert "- one\n- two" in text
    assert "a | b\n1 | 2" in text


def test_asides_on_request() -> None:
    texts = [block.text for block in read_html(PAGE, keep_asides=True).blocks]
    assert "Home" in texts
    assert "imprint" in texts
    assert not any(text == "no" for text in texts)


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<",
        "<p",
        "<![x",
        "<![CDATA[",
        "<!DOCTYPE",
        "</p></p></p>",
        "<script>",
        "<!-- never closed",
        "&#xffffffffff;&#0;&bogus;",
        "&#" + "9" * 10_000 + ";",
        "<svg/>" * 10,
        "\x00\x01<b>",
        "<div>" * 50_000,
        "<p " + "a=b " * 20_000,
    ],
)
def test_broken_html(html: str) -> None:
    assert read_html("<p>before</p>" + html).blocks[0].text == "before"


def test_a_drawing_that_ends_at_once_hides_nothing() -> None:
    assert read_html("<svg/><p>after").text == "after"
    assert read_html("<svg><svg></svg>in</svg><p>after").text == "after"


@pytest.mark.parametrize(
    "piece",
    ["<", "</", "<!--", "<a ", "<a x='", '<a x="', "<![CDATA[", "<!x", "<?", "</a", "<script ", "<script>",
     "</script", "<title>", "&", "&#", "<a =", "<a\t\t= ", "<p>", "<nav>", "<li>", "<pre>", " "],
)  # fmt: skip
def test_time_grows_with_the_length_and_not_faster(piece: str) -> None:
    begun = time.process_time()
    read_html(piece * (500_000 // len(piece)))
    assert time.process_time() - begun < 3.0


def test_what_may_be_in_a_tag() -> None:
    html = "<p title='a > b' x=\"c > 'd'\" y = '>'>one</p\n><P>two <!-- > <b> --> &lt;three&gt;<BR/>four < 5"
    assert [block.text for block in read_html(html).blocks] == ["one", "two <three>", "four < 5"]
    assert read_html("<svg x='/'/><p>a").text == "a"
    assert read_html("<script>if (a</b>c) '<p>no'</SCRIPT ><p>yes").text == "yes"
    assert read_html("a <i").text == "a"
