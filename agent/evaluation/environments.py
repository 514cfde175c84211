"""The executable environments of BFCL's conversations: the suite's own classes, their methods as tools."""

import ast
import copy
import inspect
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from arriero.prompts import ToolCall, ToolSpec
from arriero.tools import Tool, ToolContext, ToolResult

from .bfcl import SuiteError

_CHECKER: Final = "bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker"
_CLASSES: Final = "bfcl_eval.constants.executable_backend_config"


def suite(module: str) -> ModuleType:
    """A module of the package ``bfcl-eval``. Raises SuiteError where it, or what it needs, is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise SuiteError(
            f"conversations are carried out by the package bfcl-eval, and {error.name} is not installed: "
            "pip install --no-deps bfcl-eval; pip install mpmath"
        ) from error


class Environment:
    """Instances of the suite's classes as one conversation begins with them.

    ``results`` are what calls have answered, in order.
    """

    def __init__(self, classes: Sequence[str], config: Mapping[str, Any], *, long_context: bool) -> None:
        known = suite(_CLASSES)
        self.instances: dict[str, Any] = {}
        self.results: list[str] = []
        self._methods: dict[str, Any] = {}
        for name in classes:
            if name not in known.CLASS_FILE_PATH_MAPPING:
                raise SuiteError(f"the package bfcl-eval that is installed has no {name}")
            instance = getattr(suite(known.CLASS_FILE_PATH_MAPPING[name]), name)()
            if name not in known.STATELESS_CLASSES:
                instance._load_scenario(copy.deepcopy(dict(config.get(name, {}))), long_context=long_context)
            self.instances[name] = instance
            self._methods |= {
                method: bound
                for method, bound in inspect.getmembers(instance, inspect.ismethod)
                if not method.startswith("_")
            }

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What a method answers, in the suite's words; what it raises too."""
        try:
            result = _said(self._methods[name](**arguments))
        except Exception as error:
            result = f"Error during execution: {error}"
        self.results.append(result)
        return result

    def same_state(self, other: "Environment") -> str:
        """How the state differs from another's, by the suite's own comparison; empty where it does not."""
        verdict = suite(_CHECKER).state_checker(self.instances, other.instances)
        return "" if verdict["valid"] else f"{verdict['error_message']} {verdict['details']['differences']}"

    def has_said(self, wanted: Sequence[str]) -> str:
        """Which of these results never came, by the suite's own comparison; empty where all did."""
        verdict = suite(_CHECKER).response_checker(self.results, list(wanted), 0)
        return "" if verdict["valid"] else f"results that never came: {verdict['details']['missing_items']}"


class Method(Tool):
    """A method of an environment."""

    effect = "once"

    def __init__(self, spec: ToolSpec, environment: Environment) -> None:
        self.spec = spec
        self._environment = environment

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult(self._environment.call(self.name, arguments))


def read_call(source: str, parameters: Mapping[str, Sequence[str]]) -> ToolCall:
    """A call as the suite's answers write it, ``name(1, key='x')``; nothing is evaluated. Raises SuiteError."""
    try:
        call = ast.parse(source, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("it is no call of a function")
        named = dict(zip(parameters.get(call.func.id, ()), call.args, strict=False))
        if len(named) != len(call.args):
            raise ValueError("it has more arguments than the function")
        named |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        arguments = {name: ast.literal_eval(value) for name, value in named.items()}
        return ToolCall(name=call.func.id, arguments=arguments)
    except (SyntaxError, ValueError) as error:
        raise SuiteError(f"the answer {source!r} cannot be read: {error}") from error


def _said(result: Any) -> str:
    if isinstance(result, str):
        return result
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except (TypeError, ValueError):
            pass
    return str(result)
