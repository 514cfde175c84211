"""Runs as an HTML page for people: where the time went, and what happened, in one file that needs no other."""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jinja2 import Environment

from arriero.agent.drawing import STYLE, drawing, shown_seconds
from arriero.agent.events import (
    ApprovalRequested,
    ArtifactRef,
    ContextCompacted,
    Event,
    GuardrailChecked,
    ModelRetried,
    RunFinished,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolCallEdited,
    ToolCallFinished,
    ToolCallStarted,
)
from arriero.agent.timeline import Timeline

from .journal import Journal
from .records import RunInfo

_IMAGES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp")  # what no browser takes orders from
_MOST_BYTES: Final = 2_000_000  # of an image; a larger one is only named
_MOST_TEXT: Final = 20_000  # characters of one text

_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{{ title }}</title>
<style>{{ style|safe }}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem } .dim { opacity: .75; font-size: .9em }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #8882; padding: .5rem .7rem; margin: .3rem 0;
  border-radius: 4px } img { max-width: 100%; background: #fff } table { border-collapse: collapse }
details { border-bottom: 1px solid #8884 } summary { cursor: pointer; padding: .25rem 0 }
.no { color: var(--failed) } td { padding: .1rem 1rem .1rem 0; vertical-align: top; overflow-wrap: anywhere }
</style></head>
<body><h1>{{ title }}</h1>
{% for run in runs %}<section><h2>Run {{ run.info.id[:8] }}</h2>
{% if run.info.prompt %}<pre>{{ run.info.prompt|cut }}</pre>{% endif %}
{{ run.drawing|safe }}
<table>{% for name, value in run.facts %}
<tr><td class="dim">{{ name }}</td><td>{{ value }}</td></tr>{% endfor %}</table>
{% for note in run.notes %}<details{% if note.open %} open{% endif %}><summary{% if note.bad %} class="no"{% endif %}>
{{ note.title }} <span class="dim">{{ note.about }}</span></summary>
{%- for text in note.texts %}<pre>{{ text|cut }}</pre>{% endfor %}
{%- for name, data in note.images %}<p class="dim">{{ name }}</p><img alt="{{ name }}" src="{{ data }}">{% endfor %}
</details>
{% endfor %}</section>
{% endfor %}</body></html>
"""


@dataclass(slots=True)
class _Note:
    """One line of what happened, and what opens below it."""

    title: str
    about: str
    texts: list[str] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)
    bad: bool = False
    open: bool = False


def run_page(journal: Journal, runs: Sequence[RunInfo], title: str) -> str:
    """A page without scripts that shows these runs, in this order. Raises JournalError."""
    environment = Environment(autoescape=True)
    environment.filters["cut"] = _cut
    return environment.from_string(_PAGE).render(
        title=title, style=STYLE, runs=[_shown(journal, run) for run in runs]
    )


def _shown(journal: Journal, info: RunInfo) -> dict[str, Any]:
    happened = journal.events(info.id)
    timeline = Timeline.of(happened)
    return {
        "info": info,
        "drawing": drawing(timeline),
        "facts": _facts(info, timeline),
        "notes": list(_notes(happened)),
    }


def _facts(info: RunInfo, timeline: Timeline) -> list[tuple[str, str]]:
    usage = info.usage
    rate = f", {usage.output_tokens / usage.decode_seconds:.1f} a second" if usage.decode_seconds else ""
    facts = [
        ("model", info.model),
        ("began", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.started))),
        ("ended", info.stop_reason or "interrupted"),
        ("error", info.error or ""),
        ("took", shown_seconds(usage.seconds or timeline.seconds)),
        ("read", f"{usage.prompt_tokens} tokens that were new to the model"),
        ("written", f"{usage.output_tokens} tokens{rate}"),
        ("calls", str(usage.tool_calls)),
    ]
    return [(name, value) for name, value in facts if value]


def _notes(happened: Sequence[tuple[float, Event]]) -> Iterator[_Note]:
    begun = happened[0][0] if happened else 0.0
    said = step = ""
    calls: dict[str, tuple[str, str]] = {}
    for moment, event in happened:
        at = f"at {shown_seconds(max(0.0, moment - begun))}"
        match event:
            case TextDelta():
                said += event.text
            case StepStarted():
                step = at
            case StepFinished():
                yield _written(event, said, step or at)
                said = ""
            case ToolCallStarted():
                calls[event.call_id] = at, json.dumps(event.arguments, ensure_ascii=False, indent=1)
            case ToolCallEdited():
                shown = json.dumps(event.arguments, ensure_ascii=False, indent=1)
                calls[event.call_id] = calls.get(event.call_id, (at, ""))[0], shown
                yield _Note(f"{event.name} changed by the user", at, [shown])
            case ToolCallFinished():
                yield _called(event, *calls.get(event.call_id, (at, "")))
            case RunFinished():
                if said:
                    yield _Note("arriero", at, [said], open=True)
                if event.error:
                    yield _Note(event.stop_reason, at, [event.error], bad=True, open=True)
            case _:
                if (note := _remarked(event, at)) is not None:
                    yield note


def _written(event: StepFinished, said: str, at: str) -> _Note:
    usage = event.usage
    read = max(0.0, usage.seconds - usage.decode_seconds)
    about = (
        f"{at}: {usage.prompt_tokens} tokens read in {shown_seconds(read)}, "
        f"{usage.output_tokens} written in {shown_seconds(usage.decode_seconds)}, {event.end}"
    )
    return _Note(f"step {event.step}", about, [said] if said else [], open=bool(said))


def _called(event: ToolCallFinished, at: str, arguments: str) -> _Note:
    texts = [text for text in (arguments, event.content) if text]
    images, others = [], []
    for one in event.artifacts:
        if (data := _image(one)) is not None:
            images.append((one.name, data))
        else:
            others.append(f"{one.name} ({one.mime}, {len(one.data)} bytes)")
    if others:
        texts.append("\n".join(others))
    about = f"{at}: {shown_seconds(event.seconds)}"
    return _Note(event.name, about, texts, images, bad=not event.ok, open=bool(images))


def _remarked(event: Event, at: str) -> _Note | None:
    match event:
        case GuardrailChecked() if event.failed or event.action != "allow":
            said = "could not judge" if event.failed else event.action
            about = f"{at}: {event.place}, {said}"
            return _Note(f"screen {event.screen}", about, [event.reason] if event.reason else [], bad=True)
        case ModelRetried():
            return _Note("asked again", f"{at}: {event.discarded_tokens} tokens taken back", [event.reason])
        case ContextCompacted():
            about = f"{at}: {event.tokens_before} tokens, then {event.tokens_after}"
            return _Note("context compacted", about, [event.removed])
        case ApprovalRequested():
            shown = json.dumps(event.arguments, ensure_ascii=False, indent=1)
            return _Note(f"approval of {event.name}", at, [text for text in (event.reason, shown) if text])
        case _:
            return None


def _image(artifact: ArtifactRef) -> str | None:
    """The image as a data address, so that the page needs no other file."""
    if artifact.mime not in _IMAGES or len(artifact.data) > _MOST_BYTES:
        return None
    return f"data:{artifact.mime};base64,{base64.b64encode(artifact.data).decode()}"


def _cut(text: str) -> str:
    if len(text) <= _MOST_TEXT:
        return text
    return f"{text[:_MOST_TEXT]}\n[… {len(text) - _MOST_TEXT} characters more …]"
