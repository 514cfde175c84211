"""How each wire form writes a call in the history: plain text, inserted as content from outside."""

import json
from typing import Any

from .errors import PromptError
from .messages import CODE_INTERPRETER, ToolCall

BUILTIN_QUERY = frozenset({"brave_search", "wolfram_alpha", "photogen"})


def compact_json(value: Any) -> str:
    """JSON as Hugging Face's chat-template environment writes it: spaces after separators, Unicode kept."""
    return json.dumps(value, ensure_ascii=False)


def meta_query(call: ToolCall) -> str:
    """``name.call(query="…")``; the query is inserted raw, as llama-models and the published templates do."""
    return f'{call.name}.call(query="{call.arguments.get("query", "")}")'


def keyword_call(call: ToolCall) -> str:
    """``name.call(a="…", b="…")`` of the published 3.1 template, which can write only strings."""
    for name, value in call.arguments.items():
        if not isinstance(value, str):
            raise PromptError(f"argument {name!r} of {call.name} must be a string in this wire form")
    arguments = ", ".join(f'{name}="{value}"' for name, value in call.arguments.items())
    return f"{call.name}.call({arguments})"


def json_call(call: ToolCall) -> str:
    """``{"name": …, "parameters": …}`` of the published templates; the name is not escaped there either."""
    arguments = call.arguments if call.raw_arguments is None else call.raw_arguments
    return f'{{"name": "{call.name}", "parameters": {compact_json(arguments)}}}'


def _python_value(value: Any) -> str:
    """A value as llama-models writes it: strings unescaped, dictionaries as ``{k=v}``."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(_python_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_python_value(item)}" for key, item in value.items()) + "}"
    return str(value)


def meta_call(call: ToolCall, form: str) -> str:
    """A call as llama-models' ``ToolUtils.encode_tool_call`` writes it, in form json, function_tag or
    python_list.
    """
    if call.name == CODE_INTERPRETER:
        return str(call.arguments.get("code", ""))
    if call.name in BUILTIN_QUERY:
        return meta_query(call)
    if form == "json":
        return json.dumps({"type": "function", "name": call.name, "parameters": call.arguments})
    if form == "function_tag":
        return f"<function={call.name}>{json.dumps(call.arguments)}</function>"
    arguments = ", ".join(f"{name}={_python_value(value)}" for name, value in call.arguments.items())
    return f"[{call.name}({arguments})]"


def vllm_pythonic_calls(calls: tuple[ToolCall, ...]) -> str:
    """One list of calls as vLLM's 3.2 template writes it: values through ``str``, strings without quotes."""
    written = (
        f"{call.name}({', '.join(f'{name}={value}' for name, value in call.arguments.items())})"
        for call in calls
    )
    return f"[{', '.join(written)}]"


def python_list(calls: tuple[ToolCall, ...]) -> str:
    """One list of calls as Python literals, which the model is taught to write: strings quoted and escaped."""
    written = []
    for call in calls:
        arguments = ", ".join(f"{name}={_literal(value)}" for name, value in call.arguments.items())
        written.append(f"{call.name}({arguments})")
    return f"[{', '.join(written)}]"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return compact_json(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    return repr(value)
