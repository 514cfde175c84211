"""A session as a file for people: Markdown, JSON, HTML, or a notebook with the cells that were run."""

import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from arriero.agent.approval import edit_note
from arriero.prompts import CODE_INTERPRETER, Message, ToolCall

from .journal import Journal
from .records import SessionInfo
from .restore import standing

_NAMES: Final = {"user": "User", "assistant": "Assistant", "ipython": "Tool"}
_CUT: Final = "(interrupted)"

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body {{ max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4; padding: .6rem; border-radius: .3rem }}
h2 {{ font-size: 1rem; margin: 1.6rem 0 .3rem; color: #555 }}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""


def export(journal: Journal, session: str, form: str) -> str:
    """The session in one of FORMS. Raises UnknownSession, KeyError for another form."""
    return FORMS[form](journal, journal.session(session))


def _markdown(journal: Journal, info: SessionInfo) -> str:
    parts = [f"# {_title(info)}\n"]
    for message in _messages(journal, info):
        if message.content or not message.tool_calls:
            said = message.content if message.role != "ipython" else _fenced(message.content)
            parts.append(f"## {_who(message)}\n\n{said}\n")
        for call in message.tool_calls:
            code, language = _code(call)
            parts.append(f"## Call of {call.name}\n\n{_fenced(code, language)}\n")
    return "\n".join(parts)


def _html(journal: Journal, info: SessionInfo) -> str:
    parts = []
    for message in _messages(journal, info):
        if message.content or not message.tool_calls:
            parts.append(f"<h2>{html.escape(_who(message))}</h2><pre>{html.escape(message.content)}</pre>")
        for call in message.tool_calls:
            name, code = html.escape(call.name), html.escape(_code(call)[0])
            parts.append(f"<h2>Call of {name}</h2><pre><code>{code}</code></pre>")
    return _PAGE.format(title=html.escape(_title(info)), body="\n".join(parts))


def _json(journal: Journal, info: SessionInfo) -> str:
    runs = [
        {
            "id": run.id,
            "started": run.started,
            "ended": run.ended,
            "stop_reason": run.stop_reason,
            "error": run.error,
            "model": run.model,
            "weights": run.weights,
            "sampling": run.sampling,
            "usage": run.usage.model_dump(),
        }
        for run in reversed(journal.runs(info.id))
    ]
    messages = [message.model_dump(exclude_defaults=True) for message in _all(journal, info)]
    whole = {"id": info.id, "name": info.name, "title": info.title, "runs": runs, "messages": messages}
    return json.dumps(whole, indent=2, ensure_ascii=False, default=str) + "\n"


def _notebook(journal: Journal, info: SessionInfo) -> str:
    cells: list[dict[str, Any]] = [_cell("markdown", f"# {_title(info)}")]
    run: dict[str, dict[str, Any]] = {}
    ran = _ran(journal, info)
    for message in _messages(journal, info):
        if message.role == "ipython":
            if message.tool_call_id in run:
                cell = run.pop(message.tool_call_id)
                edited = next((note for note in ran if message.content.startswith(note)), None)
                cell["source"] = ran[edited] if edited else cell["source"]
                cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": message.content}]
            else:
                cells.append(_cell("markdown", f"**{_who(message)}**\n\n{_fenced(message.content)}"))
            continue
        if message.content:
            cells.append(_cell("markdown", f"**{_who(message)}**\n\n{message.content}"))
        for call in message.tool_calls:
            code, language = _code(call)
            if language == "python":
                cells.append(_cell("code", code))
                run[call.id] = cells[-1]
            else:
                cells.append(_cell("markdown", f"**Call of {call.name}**\n\n{_fenced(code, language)}"))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


FORMS: Final[dict[str, Callable[[Journal, SessionInfo], str]]] = {
    "md": _markdown,
    "json": _json,
    "html": _html,
    "ipynb": _notebook,
}
"""Forms of an export, by their usual suffix."""


def _ran(journal: Journal, info: SessionInfo) -> dict[str, str]:
    """Code that has run, by what stands before its result where a person has changed the call to it."""
    runs = {entry.run_id for entry in journal.entries(info.id)}
    calls = [ToolCall(name=one.name, arguments=one.arguments) for run in runs for one in journal.calls(run)]
    return {
        edit_note(call): code for call in calls for code, language in [_code(call)] if language == "python"
    }


def _cell(kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell


def _all(journal: Journal, info: SessionInfo) -> list[Message]:
    return journal.conversation(info.id).messages


def _messages(journal: Journal, info: SessionInfo) -> Iterator[Message]:
    for one in standing(journal.entries(info.id)):
        message = one.message
        if message.role == "system":
            continue
        if one.cut_off:
            message = message.model_copy(update={"content": f"{message.content} {_CUT}".strip()})
        yield message


def _who(message: Message) -> str:
    name = _NAMES.get(message.role, message.role)
    return f"{name} {message.name}" if message.role == "ipython" and message.name else name


def _title(info: SessionInfo) -> str:
    return re.sub(r"\s+", " ", info.name or info.title or info.id).strip()


def _code(call: ToolCall) -> tuple[str, str]:
    code = call.arguments.get("code")
    if call.name == CODE_INTERPRETER and isinstance(code, str):
        return code, "python"
    return json.dumps(call.arguments, indent=2, ensure_ascii=False, default=str), "json"


def _fenced(text: str, language: str = "") -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    end = "" if text.endswith("\n") or not text else "\n"
    return f"{fence}{language}\n{text}{end}{fence}"
