"""A call as a text that a person can change, and back: code as code, one query as it is, anything else as JSON."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from arriero.agent.calls import refusal
from arriero.prompts import CODE_INTERPRETER, ToolCall, coerce_arguments
from arriero.tools import Tool

if TYPE_CHECKING:
    from .terminal import Terminal

_PLAIN: Final = {CODE_INTERPRETER: ("code", ".py")}
"""Tools whose calls are one text, the argument that holds it, and what a file of it is called."""

Wanted = Callable[[], bool]
"""Whether what is being written is still of use."""


EditText = Callable[["Terminal", str, str, Wanted], str | None]
"""Lets a person change a text on a terminal, as a file of that suffix; None when they leave it as it was."""


def edit_text(terminal: "Terminal", text: str, suffix: str, wanted: Wanted) -> str | None:
    """Have a text changed on the line editor of the conversation."""
    from .prompt import changed

    return changed(terminal, text, suffix, wanted)


def edited(
    name: str,
    arguments: dict[str, Any],
    tool: Tool | None,
    *,
    edit: Callable[[str, str, Wanted], str | None],
    complain: Callable[[str], None],
    wanted: Wanted,
) -> dict[str, Any] | None:
    """The arguments as a person wants them, once they fit the tool; None when they leave them as they were."""
    plain = _plain(name, arguments)
    suffix = _PLAIN.get(name, ("", ".txt"))[1] if plain else ".json"
    text = arguments[plain] if plain else json.dumps(arguments, indent=2, ensure_ascii=False, default=str)
    while (written := edit(text, suffix, wanted)) is not None:
        text = written
        problem, found = _read(name, text, plain, tool)
        if not problem:
            return found
        complain(f"this cannot be called: {problem}")
    return None


def _plain(name: str, arguments: dict[str, Any]) -> str | None:
    """The one argument whose text is all that there is to change; None where there are several, or another one."""
    key = _PLAIN.get(name, ("query", ""))[0]
    return key if list(arguments) == [key] and isinstance(arguments[key], str) else None


def _read(name: str, text: str, plain: str | None, tool: Tool | None) -> tuple[str, dict[str, Any]]:
    """What is wrong with the text, else nothing and the arguments that it says."""
    if plain:
        arguments: Any = {plain: text}
    else:
        try:
            arguments = json.loads(text)
        except (ValueError, RecursionError) as error:
            return f"no JSON: {error}", {}
        if not isinstance(arguments, dict):
            return "arguments are written in braces, each with its name", {}
    if tool is not None:
        arguments = coerce_arguments(arguments, tool.spec.parameters)
        if unfit := refusal(ToolCall(name=name, arguments=arguments), {name: tool}):
            return unfit.reason, {}
    return "", arguments
