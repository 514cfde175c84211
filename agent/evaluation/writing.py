"""Calls as a model of a dialect writes them."""

from collections.abc import Sequence
from typing import Final

from arriero.prompts import Message, ToolCall, ToolSpec
from arriero.prompts.dialects import Dialect

DONE: Final = "Done.<|eot_id|>"
_ONE_CALL: Final = frozenset({"hf-3.1", "llama3.1"})


def written(
    form: Dialect, tools: Sequence[ToolSpec], calls: Sequence[ToolCall], *, together: bool = True
) -> list[str]:
    """The texts of assistant messages with these calls, each from after its header to its end.

    With ``together`` all are in one message where the dialect can write that, else one each.
    """
    if not calls:
        return []
    if together and len(calls) > 1 and form.name not in _ONE_CALL:
        return [_message(form, tools, calls)]
    return [_message(form, tools, [call]) for call in calls]


def _message(form: Dialect, tools: Sequence[ToolSpec], calls: Sequence[ToolCall]) -> str:
    message = Message(role="assistant", tool_calls=tuple(calls), end="eom")
    segments = form.extend([message], tools=list(tools), builtin_tools=None, answer=False)
    text = "".join(segment.text for segment in segments)
    return text.partition("<|end_header_id|>")[2].removeprefix("\n\n")
