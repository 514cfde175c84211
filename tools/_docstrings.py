"""Reads the summary and the parameters' descriptions from a docstring."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import griffe

DocstringStyle = Literal["google", "numpy", "sphinx"]

_STYLES: tuple[tuple[DocstringStyle, re.Pattern[str]], ...] = (
    ("sphinx", re.compile(r"^[ \t]*:(param|parameter|arg|type|returns?|rtype|raises?)\b[^\n:]*:", re.M)),
    (
        "numpy",
        re.compile(r"^[ \t]*(Parameters|Other Parameters|Returns|Yields|Raises)[ \t]*\n[ \t]*-{3,}", re.M),
    ),
    (
        "google",
        re.compile(
            r"^[ \t]*(Args|Arguments|Params|Parameters|Keyword Args|Keyword Arguments|Returns|Yields|Raises"
            r"|Examples?|Notes?):",
            re.M,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Documentation:
    """What a docstring says: the text before its sections, and a description per parameter."""

    summary: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def read_docstring(text: str | None) -> Documentation:
    """Read a docstring in whichever of the three styles it is written; without sections it is all summary."""
    if not text or not text.strip():
        return Documentation()
    style = docstring_style(text)
    if style is None:
        return Documentation(text.strip())
    import griffe

    # Without warnings: griffe misses the types that stand in the signature.
    sections = griffe.Docstring(text).parse(style, warnings=False)
    return _documentation(sections)


def docstring_style(text: str) -> DocstringStyle | None:
    """Name the style of the sections in a docstring; None when it has none."""
    return next((style for style, pattern in _STYLES if pattern.search(text)), None)


def _documentation(sections: "list[griffe.DocstringSection]") -> Documentation:
    summary: list[str] = []
    parameters: dict[str, str] = {}
    for section in sections:
        if section.kind.value == "text":
            summary.append(section.value.strip())
        elif section.kind.value == "admonition":
            summary.append(f"{section.title}: {section.value.contents.strip()}")
        elif section.kind.value in ("parameters", "other parameters"):
            parameters.update((item.name, " ".join(item.description.split())) for item in section.value)
    return Documentation("\n\n".join(part for part in summary if part), parameters)
