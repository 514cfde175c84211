"""Jinja2 templates rendered to segments instead of one string.

A template's own text is trusted and may contain control markers such as ``<|eot_id|>``. Every value that an
expression inserts comes from outside: Jinja2's ``finalize`` hook, which sees expression results and never
template text, sets it aside and leaves a numbered slot, so that it is not even present when markers are
looked for.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from .errors import PromptError
from .segments import Segment

_EMPTY = Segment("")

SEAM = "<|seam|>"
"""Template marker for a border at which the reference encoder starts a new run of text; it writes nothing."""

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
"""JSON can spell halves of characters, which no encoder takes; they are replaced here, the same for all."""

_PIECE = re.compile(r"\x00(?P<slot>\d+)\x00|(?P<marker><\|[a-z0-9_]+\|>)")


class Layout:
    """What a template makes of texts that are not known yet: segments that are always the same, and runs of plain
    text in which a number stands for one of the texts.
    """

    def __init__(self, parts: Sequence[Segment | tuple[str | int, ...]]) -> None:
        self._segments = [part if isinstance(part, Segment) else _EMPTY for part in parts]
        self._runs = [(place, part) for place, part in enumerate(parts) if not isinstance(part, Segment)]

    def fill(self, texts: Sequence[str] = ()) -> list[Segment]:
        """The segments with these texts; raises PromptError for anything that is not text."""
        segments = self._segments.copy()
        empty = False
        for place, run in self._runs:
            text = "".join([_text(texts[one]) if isinstance(one, int) else one for one in run])
            segments[place] = Segment(text)
            empty = empty or not text
        return [segment for segment in segments if segment.text] if empty else segments


class Hole:
    """Stands in a template's values for text ``number`` of a Layout; a template can insert it and nothing else."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def _refuse(self, *_: object) -> NoReturn:
        raise PromptError("a prompt template looked at a text that it may only insert")

    __bool__ = __eq__ = __str__ = __len__ = __iter__ = __getattr__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise PromptError(f"a prompt template was given {type(value).__name__} where text belongs")
    return value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value)


@pass_context
def _set_aside(context: Context, value: object) -> str:
    slots: list[str | int] = context["slots"]
    slots.append(value.number if isinstance(value, Hole) else _text(value))
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


def lay_out(template: str, *, seams: bool = True, **values: Any) -> Layout:
    """Render ``templates/{template}.jinja``; runs of plain text between markers are joined.

    With ``seams`` the template's seam markers keep runs apart; without, the text between two control tokens
    is one run, as when a reference renders to a string first. Raises PromptError where the template refuses.
    """
    slots: list[str | int] = []
    text = _environment().get_template(f"{template}.jinja").render(slots=slots, **values)
    parts: list[Segment | tuple[str | int, ...]] = []
    plain: list[str | int] = []

    def flush() -> None:
        run = tuple(one for one in plain if one != "")
        plain.clear()
        if run:
            parts.append(run if any(isinstance(one, int) for one in run) else Segment("".join(map(str, run))))

    position = 0
    for match in _PIECE.finditer(text):
        plain.append(text[position : match.start()])
        position = match.end()
        if match["slot"]:
            plain.append(slots[int(match["slot"])])
        elif match["marker"] != SEAM:
            flush()
            parts.append(Segment(match["marker"], special=True))
        elif seams:
            flush()
    plain.append(text[position:])
    flush()
    return Layout(parts)


def render_segments(template: str, *, seams: bool = True, **values: Any) -> list[Segment]:
    """``lay_out`` with all texts among the values."""
    return lay_out(template, seams=seams, **values).fill()


def render_text(template: str, **values: Any) -> str:
    """Render ``templates/{template}.jinja`` to plain text, for content that is not framed yet."""
    return "".join(segment.text for segment in render_segments(template, **values))
