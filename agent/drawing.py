"""A timeline as a picture: HTML with inline SVG, without scripts, for the pages that this package writes.

Everything is put in by a template that escapes: names and notes come from models, tools and users.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from jinja2 import Environment, Template

from .timeline import LANES, Span, Timeline

_ROW: Final = 22  # pixels
_ROWS: Final = 6  # of one lane, at most; what overlaps beyond that is drawn over
_THINNEST: Final = 1.2  # pixels of a bar
_LABELLED: Final = 40.0  # pixels, from which on a label has room
_TICK: Final = 170  # pixels from one to the next, at least
_NARROWEST: Final = 1000  # pixels that a page is taken to have
_SPAN: Final = 8  # pixels of width for each span, so that a long run can be told apart and scrolled
_WIDEST: Final = 20_000  # pixels
_NOTE: Final = 300  # characters

STYLE: Final = """
:root { color-scheme: light dark; --prefill: #9ec5f0; --decode: #b7dfb9; --tool: #f3cf93; --screen: #d9c2ee;
  --mark: #8a8f98; --failed: #c62828; --grid: #8884; --ink: #1c1f23 }
@media (prefers-color-scheme: dark) { :root { --prefill: #24507f; --decode: #2b6135; --tool: #7a5513;
  --screen: #57397a; --mark: #9aa0aa; --failed: #ff8a80; --grid: #8886; --ink: #f2f4f7 } }
.timeline { overflow-x: auto; font: 12px/1.3 system-ui, sans-serif; margin: .6rem 0 }
.timeline .lane { display: grid; grid-template-columns: 4.5rem 1fr; border-top: 1px solid var(--grid) }
.timeline .lane > span { padding-top: 5px; position: sticky; left: 0; background: Canvas; opacity: .85 }
.timeline svg { display: block; width: 100% } .timeline text { fill: var(--ink) }
.timeline .tick { stroke: var(--grid); stroke-width: 1px }
.prefill { fill: var(--prefill); background: var(--prefill) }
.decode { fill: var(--decode); background: var(--decode) }
.tool { fill: var(--tool); background: var(--tool) } .screen { fill: var(--screen); background: var(--screen) }
.mark { fill: var(--mark); background: var(--mark) }
.timeline .failed { stroke: var(--failed); stroke-width: 3px }
.timeline .unfinished { stroke: var(--failed); stroke-width: 2px; stroke-dasharray: 4 3 }
.legend i { display: inline-block; width: .9em; height: .9em; margin: 0 .35em 0 .9em; vertical-align: -.1em }
"""
"""What a page that holds drawings needs in its style sheet."""

_TEMPLATE: Final = """\
<div class="timeline" role="img" aria-label="{{ about }}"><div style="min-width: {{ wide }}px">
{% for lane in lanes %}<div class="lane"><span>{{ lane.name }}</span><svg height="{{ lane.height }}">
{%- for tick in ticks %}<line class="tick" x1="{{ tick.at }}%" x2="{{ tick.at }}%" y1="0" y2="100%"/>{% endfor %}
{%- for bar in lane.bars %}
<svg x="{{ bar.x }}%" y="{{ bar.y }}" width="{{ bar.width }}%" height="{{ row - 3 }}"><title>{{ bar.told }}</title>
<rect class="{{ bar.span.kind }} {{ bar.span.state }}" width="100%" height="100%"/>
{%- if bar.label %}<text x="4" y="13">{{ bar.label }}</text>{% endif %}</svg>{% endfor %}
</svg></div>
{% endfor %}<div class="lane"><span></span><svg height="18">
{%- for tick in ticks %}<text x="{{ tick.at }}%" y="13" dx="2">{{ tick.label }}</text>{% endfor %}</svg></div>
</div></div>
<p class="legend">{% for kind, seconds in spent %}<i class="{{ kind }}"></i>{{ kind }} {{ seconds }}{% endfor %}</p>
"""


@dataclass(frozen=True, slots=True)
class _Bar:
    span: Span
    x: str
    y: int
    width: str
    label: str
    told: str


@dataclass(frozen=True, slots=True)
class _Lane:
    name: str
    height: int
    bars: list[_Bar]


@dataclass(frozen=True, slots=True)
class _Tick:
    at: str
    label: str


def drawing(timeline: Timeline) -> str:
    """The timeline as a piece of HTML; STYLE has to be in the style sheet of the page around it.

    It is whole and escaped: a template puts it in as it is (``{{ drawing|safe }}``).
    """
    whole = max(timeline.seconds, 1e-3)
    wide = min(_WIDEST, _SPAN * len(timeline.spans))
    pixel = 100 / max(wide, _NARROWEST)
    lanes = [_lane(lane, [one for one in timeline.spans if one.lane == lane], whole, pixel) for lane in LANES]
    return _template().render(
        lanes=[lane for lane in lanes if lane.bars],
        ticks=_ticks(whole, int(100 / pixel / _TICK)),
        row=_ROW,
        wide=wide,
        spent=[(kind, shown_seconds(seconds)) for kind, seconds in timeline.spent().items() if seconds],
        about=f"timeline of {len(timeline.spans)} spans in {shown_seconds(timeline.seconds)}",
    )


@cache
def _template() -> Template:
    # Compiling it takes ten times as long as a drawing does, and a report of a batch has thousands.
    return Environment(autoescape=True).from_string(_TEMPLATE)


def shown_seconds(seconds: float) -> str:
    """Seconds for people: ``3 ms``, ``1.42 s``, ``2 min 5 s``."""
    if seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _lane(name: str, spans: Sequence[Span], whole: float, pixel: float) -> _Lane:
    """The bars of a lane; a ``pixel`` is so many per cent of the width."""
    bars: list[_Bar] = []
    ends: list[float] = []
    for span in spans:
        x = min(100.0 - _THINNEST * pixel, 100 * span.start / whole)
        width = max(_THINNEST * pixel, min(100 - x, 100 * span.seconds / whole))
        row = next((number for number, end in enumerate(ends) if end <= span.start + 1e-6), len(ends))
        row = min(row, _ROWS - 1)
        if row == len(ends):
            ends.append(0.0)
        ends[row] = span.start + span.seconds
        label = _label(span) if width >= _LABELLED * pixel else ""
        bars.append(_Bar(span, f"{x:.3f}", row * _ROW + 3, f"{width:.3f}", label, _told(span)))
    return _Lane(name, max(1, len(ends)) * _ROW + 3, bars)


def _label(span: Span) -> str:
    return f"{span.tokens} tok" if span.lane == "model" else span.name


def _told(span: Span) -> str:
    parts = [f"{span.name} {span.kind}" if span.kind != "mark" else span.name, shown_seconds(span.seconds)]
    if span.tokens:
        rate = f", {span.tokens / span.seconds:.1f} a second" if span.seconds > 0 else ""
        parts.append(f"{span.tokens} tokens{rate}")
    if span.state != "ok":
        parts.append(span.state)
    return "; ".join([*parts, *([span.note[:_NOTE]] if span.note else [])])


def _ticks(whole: float, most: int) -> list[_Tick]:
    rough = whole / most
    size = 10.0 ** math.floor(math.log10(rough))
    each = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [
        _Tick(f"{100 * number * each / whole:.3f}", shown_seconds(number * each) if number else "0")
        for number in range(int(whole / each) + 1)
    ]
