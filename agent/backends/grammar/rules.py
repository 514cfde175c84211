"""The grammar of calls: the forms that Llama 3.x models write, for the tools on offer."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from arriero.prompts import ToolSpec
from arriero.prompts.messages import BUILTIN_TOOLS, CODE_INTERPRETER

from .pythonic import Literals, is_name
from .schemas import ANY_OBJECT, Schema, json_rule

Problem = Callable[[str], str | None]
"""Why no grammar can be made of a text; None if one can."""

# A value of a built-in call is inserted raw and read up to the quote and parenthesis that end it.
_RAW = r'/[^"\\\x00-\x1f\x7f]+/'
_HEADER = "%llguidance {}\n"


class CallRules:
    """Rules for the calls of some tools; ``problem`` tells which texts cannot be compiled.

    ``warnings`` has a sentence for each tool whose schema cannot be held to: its arguments are any JSON object
    then, and are checked when they have been written.
    """

    def __init__(self, tools: Sequence[ToolSpec], problem: Problem) -> None:
        self.warnings: list[str] = []
        self._lines: list[str] = []
        self._forms: dict[str, list[str]] = {"json": [], "tag": [], "python": [], "builtin": []}
        for number, tool in enumerate(tools):
            self._tool(number, tool, problem)

    def grammar(self, *, calls: bool = True, fenced: bool = False, answer: Schema | None = None) -> str:
        """The whole grammar: of a message from where its call begins (in a fence, if ``fenced``), or of an
        answer, or of a message that is either."""
        starts = ["calls", '" " calls'] if calls and self._lines else []
        lines = self._calls() if starts else []
        if fenced:
            starts = [f'{start} ("\\n"? "```")?' for start in starts]
        if answer is not None:
            starts.append("answer")
            lines.append(f"answer: {json_rule(answer)}")
        return f"{_HEADER}start: {' | '.join(starts)}\n" + "\n".join(lines) + "\n"

    def _calls(self) -> list[str]:
        alternatives = ["json_call (SEPARATOR? json_call)*", '"[" json_call (", " json_call)* "]"']
        alternatives.append("tag_call (SEPARATOR? tag_call)*")
        lines = [*self._lines, r"SEPARATOR: /; |, |\n/"]
        if self._forms["python"]:
            alternatives += ['"[" python_call (", " python_call)* "]"', "python_call"]
        if self._forms["builtin"]:
            alternatives.append("builtin_call (SEPARATOR? builtin_call)*")
        for form, rules in self._forms.items():
            if rules:
                lines.append(f"{form}_call: {' | '.join(rules)}")
        return [f"calls: {' | '.join(alternatives)}", *lines]

    def _tool(self, number: int, tool: ToolSpec, problem: Problem) -> None:
        try:
            arguments = json_rule(tool.parameters or ANY_OBJECT)
            reason = problem(f"{_HEADER}start: {arguments}\n")
        except (TypeError, ValueError, AttributeError, RecursionError) as error:  # what is no schema at all
            reason = f"{type(error).__name__}: {error}"
        if reason:
            self.warnings.append(f"the arguments of {tool.name} are not held to its schema: {reason[:200]}")
            arguments = json_rule(ANY_OBJECT)
        self._lines.append(f"arguments_{number}: {arguments}")
        self._json(number, tool.name)
        self._tag(number, tool.name)
        if tool.name in BUILTIN_TOOLS:
            self._builtin(number, tool)
        if tool.name != CODE_INTERPRETER and is_name(tool.name) and not reason:
            self._python(number, tool, problem)

    def _json(self, number: int, name: str) -> None:
        head = json.dumps(f'"name": {json.dumps(name)}, ', ensure_ascii=False)
        keys = r'("\"parameters\": " | "\"arguments\": ")'
        typed = r'"{" " "? ("\"type\": \"function\", ")?'
        self._lines.append(f'json_{number}: {typed} {head} {keys} arguments_{number} " "? "}}"')
        self._forms["json"].append(f"json_{number}")

    def _tag(self, number: int, name: str) -> None:
        head = json.dumps(f"<function={name}>", ensure_ascii=False)
        self._lines.append(f'tag_{number}: {head} arguments_{number} "</function>"')
        self._forms["tag"].append(f"tag_{number}")

    def _builtin(self, number: int, tool: ToolSpec) -> None:
        parameter = _raw_parameter(tool.parameters)
        if parameter is None or tool.name == CODE_INTERPRETER:
            return
        head = json.dumps(f'{tool.name}.call({parameter}="')
        self._lines.append(f'builtin_{number}: {head} {_RAW} "\\")"')
        self._forms["builtin"].append(f"builtin_{number}")

    def _python(self, number: int, tool: ToolSpec, problem: Problem) -> None:
        properties = tool.parameters.get("properties", {})
        if not isinstance(properties, dict) or not all(map(is_name, properties)):
            return
        if any(key in tool.parameters for key in ("anyOf", "oneOf", "allOf", "$ref")):
            return
        required = tool.parameters.get("required")
        literals = Literals(tool.parameters, f"python_{number}_v")
        try:
            arguments = literals.arguments(properties, required if isinstance(required, list) else [])
        except (TypeError, ValueError, AttributeError):
            return
        head = json.dumps(f"{tool.name}(", ensure_ascii=False)
        rule = f'python_{number}: {head} {arguments} ")"'
        lines = [*literals.rules, rule]
        if problem(f"{_HEADER}start: python_{number}\n" + "\n".join(lines) + "\n") is None:
            self._lines += lines
            self._forms["python"].append(f"python_{number}")


def _raw_parameter(parameters: dict[str, Any]) -> str | None:
    """The one parameter of a built-in tool if it takes any text, else None: then the tool is called as JSON."""
    properties = parameters.get("properties") or {"query": {"type": "string"}}
    needed = parameters.get("required") or list(properties)[:1]
    name = str(next(iter(properties)))
    schema = properties[name]
    plain = isinstance(schema, dict) and schema.get("type") == "string"
    limits = {"enum", "const", "pattern", "format", "maxLength", "allOf", "anyOf", "oneOf"}
    if needed != [name] or not plain or limits & schema.keys() or schema.get("minLength", 0) > 1:
        return None
    return name
