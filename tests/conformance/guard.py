"""Llama Guard vectors: prompts in every wrapper as text and ids, and what llama-stack makes of an answer."""

from collections.abc import Callable
from typing import Any

from arriero.prompts import Message, PromptError, Segment
from arriero.safety.llama_guard import guard_prompt, parse_verdict

Encode = Callable[[list[Segment]], list[int]]

FORMS = {"cookbook-custom": "cookbook"}
PARTS_ONLY = ("hf-1b", "hf-11b-vision")


def _message(source: dict[str, Any]) -> Message:
    role = "ipython" if source["role"] == "tool" else source["role"]
    content = source["content"]
    if isinstance(content, str):
        return Message(role=role, content=content)
    return Message(role=role, parts=tuple(part["text"] for part in content if part["type"] == "text"))


def _has_image(source: dict[str, Any]) -> bool:
    return not isinstance(source["content"], str) and any(
        part["type"] == "image" for part in source["content"]
    )


def _categories(given: Any) -> dict[str, str] | None:
    if isinstance(given, list):
        return {f"S{number}": "\n".join(pair) for number, pair in enumerate(given, start=1)}
    return given if given is None else dict(given)


def render_guard(row: dict[str, Any]) -> list[Segment]:
    """Our prompt for one line."""
    source = row["input"]
    key = row["renderer_key"]
    return guard_prompt(
        [_message(message) for message in source["messages"]],
        form=FORMS.get(key, key),
        categories=_categories(source.get("categories")),
        excluded=_excluded(source),
        image=any(_has_image(message) for message in source["messages"]),
    )


def _excluded(source: dict[str, Any]) -> list[str]:
    """Codes to leave out; the published template ignores unknown ones, which we refuse, so they go here."""
    excluded: list[str] = source.get("excluded_categories", source.get("excluded_category_keys", []))
    categories = source.get("categories")
    return [code for code in excluded if code in categories] if isinstance(categories, dict) else excluded


def drops_text(row: dict[str, Any]) -> bool:
    """Whether the reference silently renders an empty conversation, because content is no list of parts."""
    return row["renderer_key"] in PARTS_ONLY and any(
        isinstance(message["content"], str) for message in row["input"]["messages"]
    )


def without_text(row: dict[str, Any], segments: list[Segment]) -> list[Segment]:
    """Our prompt with the turns taken out that the reference drops; every one of them must be there."""
    labels = ("User", "Agent")
    lost = "".join(
        f"{labels[index % 2]}: {message['content'].strip()}\n\n"
        for index, message in enumerate(row["input"]["messages"])
        if isinstance(message["content"], str)
    )
    if sum(segment.text.count(lost) for segment in segments) != 1:
        raise AssertionError("a text is missing from our prompt")
    return [Segment(segment.text.replace(lost, ""), segment.special) for segment in segments]


def check_output(row: dict[str, Any]) -> str | None:
    """None if our verdict is llama-stack's; where that raises, ours must be an answer that has not passed."""
    verdict = parse_verdict(row["input"]["raw_output"], excluded=row["input"]["excluded_categories"])
    if "expected_error" in row:
        passed = not verdict.safe and not verdict.understood
        return None if passed else f"{verdict} for an answer that the reference cannot read"
    violation = row["expected"]["violation"]
    return None if verdict.violation == violation else f"expected {violation}, got {verdict.violation}"


def check_refusal(row: dict[str, Any]) -> str | None:
    """None if we refuse, in words of our own or the reference's, what the reference refuses."""
    try:
        segments = render_guard(row)
    except PromptError:
        return None
    return f"no error, though the reference raises {row['expected_error']!r}: {segments}"
