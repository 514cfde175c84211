"""Golden prompts: the references' inputs translated to our types, rendered, and compared as text and ids."""

from typing import Any

from arriero.prompts import Message, PromptError, Segment, ToolCall, ToolSpec
from arriero.prompts.dialects import Dialect, get_dialect

FORM = {"json": "", "function_tag": "-function-tag", "python_list": "-pythonic", None: ""}
META = {"meta-msgs": "meta-messages", "meta-msgs-legacy": "meta-messages-legacy"}
END = {"end_of_message": "eom"}
CLAIMED = (
    "meta-msgs",
    "meta-msgs-legacy",
    "meta-adapter-3.1",
    "meta-adapter-3.2",
    "meta-interface-3.1",
    "meta-raw",
    "hf-3.1",
    "hf-3.2",
    "vllm-3.1-json",
    "vllm-3.2-pythonic",
)
TEMPLATES = {"llama3.1": "hf-3.1", "llama3.2": "hf-3.2", "llama3.3": "hf-3.3"}


def _call(call: dict[str, Any]) -> ToolCall:
    call = call.get("function", call)
    if isinstance(call["arguments"], str):
        return ToolCall(name=call["name"], raw_arguments=call["arguments"])
    return ToolCall(name=call["name"], arguments=call["arguments"])


def message_of(source: dict[str, Any]) -> Message:
    """A message of a vector file as ours."""
    fields: dict[str, Any] = {"role": "ipython" if source["role"] == "tool" else source["role"]}
    content = source.get("content")
    if fields["role"] == "ipython" and not isinstance(content, str):
        fields["data"] = content
    elif isinstance(content, list):
        fields["parts"] = tuple(part["text"] for part in content)
    else:
        fields["content"] = content or ""
    if "tool_calls" in source:
        fields["tool_calls"] = tuple(_call(call) for call in source["tool_calls"])
    if "context" in source:
        fields["context"] = source["context"]
    if "stop_reason" in source:
        fields["end"] = END.get(source["stop_reason"], "eot")
    return Message(**fields)


def _meta_tool(tool: dict[str, Any]) -> ToolSpec:
    """Meta's ToolDefinition as a spec with a JSON schema."""
    parameters = tool.get("parameters") or {}
    properties = {
        name: {"type": p["param_type"], "description": p["description"]}
        | ({"default": p["default"]} if "default" in p else {})
        for name, p in parameters.items()
    }
    required = [name for name, p in parameters.items() if p.get("required", True)]
    schema = {"type": "object", "properties": properties, "required": required}
    return ToolSpec(name=tool["name"], description=tool.get("description") or "", parameters=schema)


def _meta(key: str, source: dict[str, Any]) -> tuple[Dialect, list[Message], dict[str, Any]]:
    form = source.get("tool_prompt_format")
    name = META.get(key, key)
    if key != "meta-adapter-3.2":
        name += FORM[form]
    messages = [message_of(message) for message in source["messages"]]
    if key == "meta-interface-3.1" and source.get("instruction"):
        messages.insert(0, Message(role="system", content=source["instruction"]))
    if key in META:
        return get_dialect(name), messages, {}
    options = {
        "tools": [_meta_tool(tool) for tool in source["custom_tools"]],
        "builtin_tools": source["builtin_tools"],
        "date": source["today"],
        "tool_choice": source.get("tool_choice", "auto"),
        "replace_system": source.get("system_message_behavior") == "replace",
    }
    return get_dialect(name), messages, options


def _published(name: str, source: dict[str, Any]) -> tuple[Dialect, list[Message], dict[str, Any]]:
    options: dict[str, Any] = {"answer": source.get("add_generation_prompt", True)}
    if source.get("tools") is not None:
        options["tools"] = [ToolSpec(**tool["function"]) for tool in source["tools"]]
    if "builtin_tools" in source:
        options["builtin_tools"] = source["builtin_tools"]
    if "date_string" in source:
        options["date"] = source["date_string"]
    if "tools_in_user_message" in source:
        options["tools_in_user_message"] = source["tools_in_user_message"]
    return get_dialect(name), [message_of(message) for message in source["messages"]], options


def render_line(row: dict[str, Any]) -> list[Segment]:
    """Our rendering of one line of a golden file or of a chat-template file."""
    if "template" in row:
        source = {**row["kwargs"], "messages": row["messages"], "tools": row["tools"]}
        dialect, messages, options = _published(TEMPLATES[row["template"]], source)
    elif row["renderer_key"] == "meta-raw":
        return [Segment("<|begin_of_text|>", special=True), Segment(row["input"]["content"])]
    elif row["renderer_key"].startswith("meta-"):
        dialect, messages, options = _meta(row["renderer_key"], row["input"])
    else:
        dialect, messages, options = _published(row["renderer_key"], row["input"])
    return dialect.render(messages, **options)


def check_refusal(row: dict[str, Any], error: PromptError) -> str | None:
    """None if the reference refuses too; where it merely crashes, any clear error of ours will do."""
    wanted = row.get("expected_error")
    if wanted and (str(error) in wanted or not wanted.startswith("TemplateError")):
        return None
    return f"raised {error}" + (f", where the reference raises {wanted!r}" if wanted else "")
