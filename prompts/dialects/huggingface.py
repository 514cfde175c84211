"""The chat templates published with the weights (3.1 and 3.3, 3.2), and vLLM's variants of them."""

import json

from ..calls import compact_json, json_call, keyword_call, vllm_pythonic_calls
from ..errors import PromptError
from ..messages import End, Message
from ..rendering import render_text
from .base import Dialect, Framed, Opening, split_system

_SINGLE_CALL = "This model only supports single tool-calls at once!"
_NO_FIRST_MESSAGE = "Cannot put tools in the first user message when there's no first user message!"

HF_FIXED_DATE = "26 Jul 2024"
"""What the 3.1 template writes when it is given no date."""


class HuggingFace(Dialect):
    """``chat_template`` of Llama-3.1-8B-Instruct (3.3-70B: the same file) and of Llama-3.2-3B-Instruct.

    Text is trimmed, tool results are JSON-encoded, one call a message. The reference makes one string and encodes
    that, so there are no seams. The 3.2 template (``builtin=False``) knows no built-in tools.
    """

    date_format = "%d %b %Y"
    seams = False
    intro_gap = ""
    pythonic = False
    default_system = ""

    def __init__(self, name: str, *, builtin: bool = True, default_date: str | None = None) -> None:
        self.name = name
        self.builtin = builtin
        self.default_date = default_date

    def open(self, messages: list[Message], opening: Opening) -> list[Message]:
        system, rest = split_system(messages)
        rest = [self._normalise(message) for message in rest]
        functions = self._functions(opening)
        text = render_text(
            "hf_system",
            environment=self._environment(opening),
            date=opening.date,
            functions="" if self._tools_in_user_message(opening) else functions,
            system=self._text(system).strip() if system else self._default_system(opening),
        )
        if functions and self._tools_in_user_message(opening):
            if not rest:
                raise PromptError(_NO_FIRST_MESSAGE)
            rest[0] = Message(role="user", content=functions + self._text(rest[0]).strip())
        return [Message(role="system", content=text), *rest]

    def frame(self, message: Message, opening: Opening) -> Framed:
        if message.role == "ipython":
            return Framed("ipython", (self._result(message),))
        if _has_calls(message):
            end: End = "eom" if self.builtin and opening.builtin_tools is not None else "eot"
            tag, text = self._calls(message, opening)
            return Framed("assistant", (text,), end, 0 if tag else None)
        return Framed(message.role, (message.content,))

    def _tools_in_user_message(self, opening: Opening) -> bool:
        return opening.tools_in_user_message and not self.pythonic

    def _environment(self, opening: Opening) -> str:
        """The lines that switch tools on; the template asks whether a list is given, not whether it is empty."""
        builtin = opening.builtin_tools if self.builtin else None
        if builtin is None:
            return "Environment: ipython\n" if opening.tools is not None else ""
        return f"Environment: ipython\nTools: {opening.listed_tools}\n\n"

    def _functions(self, opening: Opening) -> str:
        if opening.tools is None:
            return ""
        return render_text(
            "hf_functions",
            form="pythonic" if self.pythonic else "user" if opening.tools_in_user_message else "system",
            gap=self.intro_gap,
            tools=[
                json.dumps({"type": "function", "function": spec.model_dump()}, indent=4, ensure_ascii=False)
                for spec in opening.tools
            ],
        )

    def _default_system(self, opening: Opening) -> str:
        return self.default_system if opening.tools is not None else ""

    def _normalise(self, message: Message) -> Message:
        if message.role == "ipython" or _has_calls(message):
            return message
        return message.model_copy(update={"content": self._text(message).strip(), "parts": ()})

    def _text(self, message: Message) -> str:
        """Content as the template sees it; it knows no lists of parts and prints them as Python does."""
        if message.parts:
            return str([{"type": "text", "text": part} for part in message.parts])
        return message.content

    def _calls(self, message: Message, opening: Opening) -> tuple[bool, str]:
        if len(message.tool_calls) != 1:
            raise PromptError(_SINGLE_CALL)
        call = message.tool_calls[0]
        if self.builtin and call.name in (opening.builtin_tools or ()):
            return True, keyword_call(call)
        return False, json_call(call)

    def _result(self, message: Message) -> str:
        """A string is JSON-encoded, because to the template a string is iterable; a bare number is not."""
        value = message.content if message.data is None else message.data
        return str(value) if isinstance(value, int | float) else compact_json(value)


class Vllm(HuggingFace):
    """vLLM's ``tool_chat_template_llama3.1_json`` and ``…3.2_pythonic``: parts are joined, results wrapped."""

    intro_gap = " "
    default_system = (
        "You are a helpful assistant with tool calling capabilities. Only reply with a tool call if the function"
        " exists in the library provided by the user. If it doesn't exist, just reply directly in natural language."
        " When you receive a tool call response, use the output to format an answer to the original user question."
    )

    def __init__(self, name: str, *, pythonic: bool = False) -> None:
        super().__init__(name, builtin=not pythonic)
        self.pythonic = pythonic

    def _text(self, message: Message) -> str:
        return "".join(part.strip() for part in message.parts) if message.parts else message.content

    def _calls(self, message: Message, opening: Opening) -> tuple[bool, str]:
        if self.pythonic:
            return False, vllm_pythonic_calls(message.tool_calls)
        return super()._calls(message, opening)

    def _result(self, message: Message) -> str:
        return f'{{"output": {compact_json(message.content if message.data is None else message.data)}}}'


def _has_calls(message: Message) -> bool:
    """The templates ask whether the key is there: an empty list of calls is refused, not ignored."""
    return "tool_calls" in message.model_fields_set
