"""An answer of Wolfram|Alpha as a short text: a line for each part, and in plain words what went wrong."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ._http import one_line

MAX_CHARS: Final = 6800
"""Longest text, as in the service's own API for language models (its ``maxchars``)."""

_OTHERS: Final = 4
_SUGGESTIONS: Final = 5


def compact_text(result: Mapping[str, Any], query: str) -> str:
    """Write a ``queryresult`` in the shape of the API's JSON, at most MAX_CHARS characters and whole parts.

    First how the query was understood, then the parts in the API's order, then what ran out of time. Without a
    result it says so, with the service's suggestions.
    """
    if not result.get("success"):
        return "\n".join(_failure(result, query))
    written: list[str] = []
    left_out: list[str] = []
    length = 0
    for title, text in _parts(result):
        if length + len(text) > MAX_CHARS and written:
            left_out.append(title)
            continue
        written.append(text[:MAX_CHARS])
        length += len(text) + 1
    if not written:
        written.append("Wolfram|Alpha understood the query, but its answer has no text.")
    if left_out:
        written.append(f"[left out: {', '.join(left_out)}]")
    return "\n".join([*_understood(result), *written, *_late(result)])


def _failure(result: Mapping[str, Any], query: str) -> Iterator[str]:
    if result.get("parsetimedout"):
        yield "Wolfram|Alpha ran out of time before it understood the query; ask again, or ask for less."
        return
    yield f'Wolfram|Alpha has no result for "{one_line(query)}".'
    meant = _listed(result.get("didyoumeans"))[:_SUGGESTIONS]
    if suggestions := [_text(item, "val") or one_line(item) for item in meant]:
        yield f"Did you mean: {' | '.join(filter(None, suggestions))}"
    if isinstance(language := result.get("languagemsg"), Mapping):
        yield _text(language, "english")
    if isinstance(future := result.get("futuretopic"), Mapping):
        yield f"{_text(future, 'topic')}: {_text(future, 'msg')}"
    for tip in _listed(result.get("tips")):
        yield f"Tip: {_text(tip, 'text')}"
    yield from _late(result)


def _understood(result: Mapping[str, Any]) -> Iterator[str]:
    for warning in _listed(result.get("warnings")):
        if text := _text(warning, "text"):
            yield f"Note: {text}"
    for assumption in _listed(result.get("assumptions")):
        values = _listed(assumption.get("value")) if isinstance(assumption, Mapping) else []
        chosen, *others = [_text(value, "desc") for value in values] or [""]
        word = _text(assumption, "word")
        if chosen:
            about = f'"{word}" as ' if word else ""
            rest = f" (not as {', '.join(others[:_OTHERS])})" if others else ""
            yield f"Taken: {about}{chosen}{rest}"


def _parts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for pod in _listed(result.get("pods")):
        if not isinstance(pod, Mapping):
            continue
        title = _text(pod, "title")
        texts = [text for subpod in _listed(pod.get("subpods")) if (text := _subpod(subpod))]
        if not texts:
            continue
        joined = "\n".join(texts)
        yield title, f"{title}: {joined}" if "\n" not in joined else f"{title}:\n{joined}"


def _subpod(subpod: Any) -> str:
    if not isinstance(subpod, Mapping):
        return ""
    text = subpod.get("plaintext")
    title = _text(subpod, "title")
    lines = [text] if isinstance(text, str) and text else []
    if image := _text(subpod, "image"):
        lines.append(f"[image: {image}]")
    joined = "\n".join(lines)
    return f"{title}: {joined}" if title and joined else joined


def _late(result: Mapping[str, Any]) -> Iterator[str]:
    late = [_text(result, name) for name in ("timedoutpods", "timedout")]
    if any(late):
        yield f"Not finished in time: {', '.join(filter(None, late))}"


def _text(item: Any, name: str) -> str:
    return one_line(item.get(name)) if isinstance(item, Mapping) else ""


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
