"""Events as spans of time, and spans as a picture."""

from html.parser import HTMLParser
from typing import Any

import pytest

from arriero.agent import events as ev
from arriero.agent.drawing import STYLE, drawing, shown_seconds
from arriero.agent.timeline import Span, Timeline

HOSTILE = '</svg><script>alert("x")</script>'


def at(moment: float, kind: Any, **values: Any) -> tuple[float, ev.Event]:
    return 1000.0 + moment, kind(run_id="r", seq=1, **values)


def step(moment: float, *, read: float, written: float, end: Any = "eot") -> list[tuple[float, ev.Event]]:
    usage = ev.Usage(prompt_tokens=200, output_tokens=40, seconds=read + written, decode_seconds=written)
    return [
        at(moment, ev.StepStarted, step=1, context_tokens=300, new_tokens=200, context_length=8192),
        at(moment + read + written, ev.StepFinished, step=1, end=end, usage=usage),
    ]


def call(moment: float, seconds: float, *, ok: bool = True) -> list[tuple[float, ev.Event]]:
    return [
        at(moment, ev.ToolCallStarted, call_id="c", name="look", arguments={}),
        at(
            moment + seconds,
            ev.ToolCallFinished,
            call_id="c",
            name="look",
            ok=ok,
            content="",
            seconds=seconds,
        ),
    ]


def begun() -> tuple[float, ev.Event]:
    return at(0, ev.RunStarted, model="m", tools=())


def ended(moment: float, reason: Any = "final") -> tuple[float, ev.Event]:
    return at(moment, ev.RunFinished, stop_reason=reason, output="", usage=ev.Usage())


def test_a_step_is_prefill_then_decode_and_a_call_follows() -> None:
    line = Timeline.of([begun(), *step(1, read=2, written=3), *call(6, 0.5), ended(6.5)])
    prefill, decode, tool = line.spans
    assert (prefill.kind, prefill.start, prefill.seconds, prefill.tokens) == ("prefill", 1.0, 2.0, 200)
    assert prefill.note == "300 of 8192 tokens in context, 100 from the cache"
    assert (decode.kind, decode.start, decode.seconds, decode.tokens) == ("decode", 3.0, 3.0, 40)
    assert (tool.lane, tool.name, tool.start, tool.seconds, tool.state) == ("tools", "look", 6.0, 0.5, "ok")
    assert line.seconds == 6.5
    assert line.spent() == {"prefill": 2.0, "decode": 3.0, "tool": 0.5, "screen": 0.0}


def test_a_screen_ends_when_it_is_heard_of() -> None:
    checked = at(4, ev.GuardrailChecked, place="input", screen="s", action="block", score=0.9, seconds=1.5)
    (span, mark) = Timeline.of([begun(), checked, ended(4, "blocked")]).spans
    assert (span.lane, span.start, span.seconds, span.state) == ("screens", 2.5, 1.5, "failed")
    assert span.note == "input: block at 0.90"
    assert (mark.lane, mark.name, mark.start) == ("run", "blocked", 4.0)


def test_what_a_killed_run_began_is_unfinished() -> None:
    happened = [begun(), *step(1, read=1, written=1)[:1], *call(3, 1)[:1], begun()]
    writing, calling = Timeline.of(happened).spans
    assert [(one.state, one.start, one.seconds) for one in (writing, calling)] == [
        ("unfinished", 1.0, 2.0),
        ("unfinished", 3.0, 0.0),
    ]


@pytest.mark.parametrize(
    ("event", "name", "note"),
    [
        (at(1, ev.ModelRetried, reason="no such tool", discarded_tokens=7), "retried", "no such tool"),
        (
            at(1, ev.ContextCompacted, removed="2 outputs", tokens_before=900, tokens_after=300),
            "compacted",
            "2 outputs: 600 tokens",
        ),
        (at(1, ev.ApprovalRequested, call_id="c", name="pay", arguments={}, reason="large"), "approval", "pay large"),
    ],
)  # fmt: skip
def test_what_takes_no_time_is_marked(event: Any, name: str, note: str) -> None:
    (mark,) = Timeline.of([begun(), event, ended(2)]).spans
    assert (mark.kind, mark.name, mark.note, mark.start, mark.seconds) == ("mark", name, note, 1.0, 0.0)


def test_a_clock_that_goes_backwards_gives_no_negative_times() -> None:
    moved = [(moment - 500, event) for moment, event in [*step(3, read=1, written=1), *call(6, 2)]]
    line = Timeline.of([begun(), *step(1, read=0.5, written=0.5), *moved, ended(9)])
    assert all(span.start >= 0 and span.seconds >= 0 for span in line.spans)
    assert line.seconds == 9


def test_no_events_no_spans() -> None:
    assert Timeline.of([]) == Timeline()
    assert "timeline" in drawing(Timeline())


def test_a_timeline_can_be_kept_as_json() -> None:
    line = Timeline.of([begun(), *step(1, read=2, written=3), *call(6, 0.5, ok=False), ended(7)])
    assert Timeline.model_validate_json(line.model_dump_json()) == line


class Elements(HTMLParser):
    """Counts elements by name and kind, and whether they close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, (dict(attrs).get("class") or "").split(" ")[0]))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_drawing_has_a_bar_for_each_span_and_closes_what_it_opens() -> None:
    line = Timeline.of([begun(), *step(1, read=2, written=3), *call(6, 0.5), *call(7, 1, ok=False), ended(8)])
    elements = Elements(drawing(line))
    bars = [kind for tag, kind in elements.found if tag == "rect"]
    assert bars == ["prefill", "decode", "tool", "tool"]
    assert elements.open == []
    assert all(f".{kind}" in STYLE for kind in bars)


def test_names_and_notes_are_text_whatever_they_hold() -> None:
    span = Span(lane="tools", kind="tool", name=HOSTILE, start=0, seconds=1, note=HOSTILE)
    elements = Elements(drawing(Timeline(spans=(span,), seconds=1)))
    assert "script" not in {tag for tag, _ in elements.found}
    assert elements.open == []


def test_what_overlaps_is_drawn_in_rows_and_a_long_run_stays_bounded() -> None:
    side = tuple(Span(lane="screens", kind="screen", name="s", start=0, seconds=1) for _ in range(3))
    assert 'height="69"' in drawing(Timeline(spans=side, seconds=1))
    many = tuple(Span(lane="tools", kind="tool", name="t", start=n, seconds=1) for n in range(3000))
    drawn = drawing(Timeline(spans=many, seconds=3000))
    assert "min-width: 20000px" in drawn
    assert len(drawn) < 1_000_000


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 ms"), (0.0034, "3.4 ms"), (1.417, "1.42 s"), (125, "2 min 5 s")]
)
def test_seconds_for_people(seconds: float, shown: str) -> None:
    assert shown_seconds(seconds) == shown
