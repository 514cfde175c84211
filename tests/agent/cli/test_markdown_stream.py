import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.agent.cli.markdown_stream import Kind, MarkdownStream, renderer
from arriero.agent.cli.terminal import Terminal

TEXT = """# Title

Some **bold** text that is long enough to be wrapped over several lines of a narrow window, with `code` too.
And it goes on.

- one
- two with
  a second line
  ```
  code in an item
  ```

1. first
2. second

   more of the second

```python
def f(x):

    return x
```

| a | b |
|---|---|
| 1 | 2 |

Done."""


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(pieces: list[str], *, colour: bool = False) -> str:
    terminal = Terminal(Screen(), interactive=True, colour=colour, unicode=True)
    written: list[str] = []
    stream = MarkdownStream(renderer(terminal.console(), terminal), written.append)
    for piece in pieces:
        stream.feed(piece)
    stream.finish()
    return "".join(written)


def pieces_of(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "44")


def test_blocks_look_as_they_should() -> None:
    lines = shown([TEXT]).split("\n")
    assert "Some bold text that is long enough to be" in lines
    assert " • one" in lines
    assert " • two with a second line" in lines
    assert "  def f(x):" in lines
    assert "      return x" in lines
    assert lines[lines.index("  def f(x):") + 1] == ""
    assert "Done." in lines


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("colour", [True, False])
def test_the_screen_is_the_same_however_the_text_is_cut(size: int, colour: bool) -> None:
    assert shown(pieces_of(TEXT, size), colour=colour) == shown([TEXT], colour=colour)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["word ", "**", "`", "*", "\n", "\n\n", "- ", "1. ", "```\n", "| a |", "# ", "[x](y)"]
        ),
        max_size=25,
    ),
    st.integers(1, 9),
)
def test_any_text_comes_out_without_an_error_and_ends_its_line(parts: list[str], size: int) -> None:
    text = "".join(parts)
    out = shown(pieces_of(text, size))
    assert out == "" or out.endswith("\n")
    assert out.count("word") == text.count("word")


def test_long_prose_appears_before_its_paragraph_ends() -> None:
    written: list[str] = []
    stream = MarkdownStream(lambda source, kind: source.split(", "), written.append)
    stream.feed("one is long enough to show, two is long enough too, three")
    assert written == ["one is long enough to show\n", "two is long enough too\n"]
    assert "three" in stream.pending


def test_a_line_with_an_open_mark_waits() -> None:
    written: list[str] = []
    stream = MarkdownStream(lambda source, kind: source.split(", "), written.append)
    stream.feed("one **is bold and long enough, two is long enough too, three")
    assert written == []


def test_code_appears_line_by_line() -> None:
    written: list[str] = []
    stream = MarkdownStream(lambda source, kind: source.split("\n")[1:], written.append)
    stream.feed("```\nfirst line of the program\nsecond line of the program\nthird")
    assert written == ["first line of the program\n", "second line of the program\n"]


def test_a_fence_that_is_never_closed_is_shown_at_the_end() -> None:
    assert "print(1)" in shown(["```python\nprint(1)"])


def test_control_sequences_never_reach_the_screen() -> None:
    assert "\x1b" not in shown(["evil \x1b[2J\x1b]0;x\x07 text\n\n```\n\x1b[31mcode\n```\n"])


def test_two_texts_do_not_mix() -> None:
    terminal = Terminal(Screen(), interactive=True, colour=False, unicode=True)
    written: list[str] = []
    stream = MarkdownStream(renderer(terminal.console(), terminal), written.append)
    stream.feed("```\nopen fence")
    stream.finish()
    stream.feed("**plain** again")
    stream.finish()
    assert "".join(written).endswith("plain again\n")


def test_the_work_grows_with_the_text_and_not_with_its_square() -> None:
    calls: list[int] = []

    def render(source: str, kind: Kind) -> list[str]:
        calls.append(len(source))
        return [source]

    stream = MarkdownStream(render, lambda text: None)
    for _ in range(20_000):
        stream.feed("word ")
    stream.finish()
    assert sum(calls) < 40 * 100_000
