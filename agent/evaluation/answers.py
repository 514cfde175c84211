"""Whether calls are those that a case asks for.

The rules are those of the suite's own checker: types as declared (an integer will do for a float), strings without
regard to case, spaces and the marks ``,./-_*^``, several calls in any order. Where the package ``bfcl-eval`` is
installed, its checker decides itself.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from arriero.prompts import ToolCall

from .bfcl import Case

Checker = Callable[[Case, Sequence[ToolCall]], str]
"""Says what is wrong with the calls; an empty text means nothing."""

_KINDS: Final[dict[str, type]] = {"string": str, "integer": int, "float": float, "boolean": bool, "array": list,
                                  "tuple": list, "dict": dict, "any": str}  # fmt: skip
_VENDORS: Final = "bfcl_eval.constants.model_config"
_LOOSE: Final = re.compile(r"[ ,./\-_*^]")


def own_checker(case: Case, calls: Sequence[ToolCall]) -> str:
    """The suite's rules, as written here."""
    if len(calls) != len(case.answers):
        return f"{len(calls)} calls instead of {len(case.answers)}"
    left = list(calls)
    for answer in case.answers:
        problems = [_problem(case, answer, call) for call in left]
        if "" not in problems:
            return (
                problems[0]
                if len(problems) == 1
                else f"no call is right for {next(iter(answer))}: {problems[0]}"
            )
        del left[problems.index("")]
    return ""


def _problem(case: Case, answer: Mapping[str, Mapping[str, list[Any]]], call: ToolCall) -> str:
    ((name, wanted),) = answer.items()
    if call.name != name:
        return f"{call.name} was called instead of {name}"
    parameters = next(f["parameters"] for f in case.functions if f["name"] == name)
    kinds = parameters.get("properties", {})
    missing = next((p for p in parameters.get("required", ()) if p not in call.arguments), None)
    if missing is not None:
        return f"{missing} is missing"
    for parameter, value in call.arguments.items():
        if parameter not in wanted or parameter not in kinds:
            return f"{parameter} is not expected"
        if not _fits(value, kinds[parameter], wanted[parameter]):
            return f"{parameter} is {value!r} instead of one of {wanted[parameter]!r}"
    left_out = next((p for p, o in wanted.items() if p not in call.arguments and "" not in o), None)
    return "" if left_out is None else f"{left_out} is missing"


def _fits(value: Any, kind: Mapping[str, Any], options: list[Any]) -> bool:
    declared = kind["type"]
    if declared == "float" and type(value) is int:
        value = float(value)
    usual = next((type(option) for option in options if option != ""), None)
    if type(value) is not _KINDS[declared] and type(value) is not usual:
        return False
    return any(option != "" and _same(value, option) for option in options) or (value == "" and "" in options)


def _same(value: Any, option: Any) -> bool:
    if isinstance(value, str) and isinstance(option, str):
        return _loose(value) == _loose(option)
    if isinstance(value, dict) and isinstance(option, dict):
        allowed = {key: o if isinstance(o, list) else [o] for key, o in option.items()}
        return all(any(_same(v, o) for o in allowed.get(key, ())) for key, v in value.items()) and all(
            key in value or "" in values for key, values in allowed.items()
        )
    if isinstance(value, list) and isinstance(option, list):
        return len(value) == len(option) and all(map(_same, value, option))
    return bool(value == option)


def _loose(text: str) -> str:
    return _LOOSE.sub("", text).lower().replace("'", '"')


def suite_checker() -> Checker | None:
    """The checker of the package ``bfcl-eval``; None where that is not installed."""
    try:
        _stand_in_for_vendors()
        from bfcl_eval.constants.enums import Language
        from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
    except ImportError:
        sys.modules.pop(_VENDORS, None)
        return None

    def check(case: Case, calls: Sequence[ToolCall]) -> str:
        written = [{call.name: call.arguments} for call in calls]
        functions, answers = list(case.functions), [dict(answer) for answer in case.answers]
        try:
            verdict = ast_checker(functions, written, answers, Language.PYTHON, case.category, "arriero")
        except (KeyError, TypeError, AttributeError) as error:
            return f"the suite's checker fails: {error!r}"  # it expects arguments of the declared shape
        return "" if verdict["valid"] else str(verdict["error"])

    return check


class _Names:
    """What the checker wants to know of a model: whether its tools' names have dots."""

    underscore_to_dot = False


class _EveryModel(dict[str, type[_Names]]):
    def __missing__(self, key: str) -> type[_Names]:
        return _Names


def _stand_in_for_vendors() -> None:
    """Keep the package from importing the clients of every vendor, of which its checker needs one yes or no."""
    module = ModuleType(_VENDORS)
    module.__dict__["MODEL_CONFIG_MAPPING"] = _EveryModel()
    sys.modules.setdefault(_VENDORS, module)
