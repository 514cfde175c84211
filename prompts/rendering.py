"""Jinja2 templates rendered to segments instead of one string.

A template's own text is trusted and may contain control markers such as ``<|eot_id|>``. Every value that an
expression inserts comes from outside: Jinja2's ``finalize`` hook, which sees expression results and never
template text, sets it aside and leaves a numbered slot, so that it is not even present when markers are
looked for.
"""

import re
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from .errors import PromptError
from .segments import Segment

SEAM = "<|seam|>"
"""Template marker for a border at which the reference encoder starts a new run of text; it writes nothing."""

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
"""JSON can spell halves of characters, which no encoder takes; they are replaced here, the same for all."""

_PIECE = re.compile(r"\x00(?P<slot>\d+)\x00|(?P<marker><\|[a-z0-9_]+\|>)")


@pass_context
def _set_aside(context: Context, value: object) -> str:
    if not isinstance(value, str):
        raise PromptError(f"a prompt template was given {type(value).__name__} where text belongs")
    slots: list[str] = context["slots"]
    slots.append(_LONE_SURROGATE.sub("\ufffd", value))
    return f"\x00{len(slots) - 1}\x00"


def _fail(message: str) -> None:
    raise PromptError(message)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("arriero.prompts", "templates"),
        undefined=StrictUndefined,
        auto_reload=False,  # looking for changed files would cost two system calls a message
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_set_aside,
        autoescape=False,  # noqa: S701 - prompts are not HTML; segments are what keeps content apart
    )
    environment.globals["fail"] = _fail
    return environment


def render_segments(template: str, *, seams: bool = True, **values: Any) -> list[Segment]:
    """Render ``templates/{template}.jinja`` to segments; runs of plain text between markers are joined.

    With ``seams`` the template's seam markers keep runs apart; without, the text between two control tokens
    is one run, as when a reference renders to a string first. Raises PromptError where the template refuses.
    """
    slots: list[str] = []
    text = _environment().get_template(f"{template}.jinja").render(slots=slots, **values)
    segments: list[Segment] = []
    plain: list[str] = []

    def flush() -> None:
        run = "".join(plain)
        plain.clear()
        if run:
            segments.append(Segment(run))

    position = 0
    for match in _PIECE.finditer(text):
        plain.append(text[position : match.start()])
        position = match.end()
        if match["slot"]:
            plain.append(slots[int(match["slot"])])
        elif match["marker"] != SEAM:
            flush()
            segments.append(Segment(match["marker"], special=True))
        elif seams:
            flush()
    plain.append(text[position:])
    flush()
    return segments


def render_text(template: str, **values: Any) -> str:
    """Render ``templates/{template}.jinja`` to plain text, for content that is not framed yet."""
    return "".join(segment.text for segment in render_segments(template, **values))
