"""Checking an answer: is it data that fits the schema, and does every check hold."""

import importlib.util
import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .answers import MAX_SHOWN, read_output
from .errors import TaskError
from .expression import evaluate, parse
from .judging import NO_JUDGE, Judge, Verdict
from .results import CallRecord, CheckResult, StepResult
from .spec import Check, NumberCheck
from .templates import resolve
from .validating import function_fault

_NUMBER = re.compile(r"[-+]?(?:\d[\d,_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class Checker:
    """Applies checks to an answer; ``known_as`` has the names that the model knows tools by, ``judge`` decides by
    rubrics.
    """

    def __init__(
        self, names: Mapping[str, Any], folder: Path | None, known_as: Mapping[str, str], judge: Judge | None
    ) -> None:
        self._names = names
        self._folder = folder
        self._known_as = known_as
        self._judge = judge

    async def check(self, check: Check, result: StepResult) -> CheckResult:
        """Whether it holds. A check that cannot be applied has failed."""
        try:
            kind = check.kind
            given = getattr(check, kind) if kind in ("python", "expr", "json_schema") else self._filled(check)
            if kind == "judge":
                verdict = await self._judged(given, result)
                return CheckResult(check=_title(check), ok=verdict.fulfilled, detail=verdict.reason)
            why = _CHECKS[kind](self, given, result)
        except TaskError as error:
            why = str(error)
        except Exception as error:
            why = f"the check itself failed: {type(error).__name__}: {error}"
        return CheckResult(check=_title(check), ok=why is None, detail=why or "")

    async def _judged(self, rubric: str, result: StepResult) -> Verdict:
        if self._judge is None:
            raise TaskError(NO_JUDGE)
        prompt = result.attempts[-1].prompt if result.attempts else ""
        return await self._judge.decide(rubric, prompt, result.text)

    def _filled(self, check: Check) -> Any:
        return resolve(check.model_dump(exclude_unset=True)[check.kind], self._names)

    def _tool(self, name: str) -> str:
        return self._known_as.get(name, name)

    def _equals(self, wanted: Any, result: StepResult) -> str | None:
        got = result.output
        if isinstance(got, str):
            got, wanted = got.strip(), str(wanted).strip()
        return None if got == wanted else f"the answer is {_short(got)} and should be {_short(wanted)}"

    def _contains(self, wanted: Any, result: StepResult) -> str | None:
        missing = [
            part for part in ([wanted] if isinstance(wanted, str) else wanted) if part not in result.text
        ]
        return f"the answer does not contain {', '.join(map(_short, missing))}" if missing else None

    def _matches(self, wanted: str, result: StepResult) -> str | None:
        return None if re.search(wanted, result.text) else f"the answer does not match {wanted!r}"

    def _number(self, given: Mapping[str, Any], result: StepResult) -> str | None:
        wanted = NumberCheck.model_validate(given)
        number = _number_in(result)
        if number is None:
            return "the answer has no number"
        if abs(number - float(wanted.equals)) <= wanted.within:
            return None
        return f"the answer's number is {number:g} and should be {float(wanted.equals):g} ± {wanted.within:g}"

    def _json_schema(self, schema: Mapping[str, Any], result: StepResult) -> str | None:
        text = result.text if isinstance(result.output, str) else json.dumps(result.output)
        return read_output(text, schema)[1]

    def _tool_called(self, name: str, result: StepResult) -> str | None:
        return (
            None
            if _calls_of(result.calls, self._tool(name))
            else f"the tool {name} was not called successfully"
        )

    def _tool_not_called(self, name: str, result: StepResult) -> str | None:
        called = any(call.name == self._tool(name) for call in result.calls)
        return f"the tool {name} was called and should not be" if called else None

    def _tool_order(self, names: list[str], result: StepResult) -> str | None:
        calls = iter(call.name for call in result.calls)
        missed = next((name for name in names if not any(call == self._tool(name) for call in calls)), None)
        return (
            f"the tools were not called in the order {', '.join(names)}: {missed} is missing"
            if missed
            else None
        )

    def _max_tool_calls(self, most: int, result: StepResult) -> str | None:
        count = len(result.calls)
        return f"{count} calls were made, {most} are allowed" if count > most else None

    def _file_exists(self, name: str, result: StepResult) -> str | None:
        made = {artifact for call in result.calls for artifact in call.artifacts}
        return None if name in made or Path(name).is_file() else f"there is no file {name}"

    def _expr(self, source: str, result: StepResult) -> str | None:
        names = {
            **self._names,
            "output": result.output,
            "text": result.text,
            "tools": [call.name for call in result.calls],
            "usage": result.attempts[-1].usage.model_dump() if result.attempts else {},
        }
        return None if evaluate(parse(source), names) else f"{source} does not hold"

    def _python(self, named: str | Callable[..., Any], result: StepResult) -> str | None:
        function = self._load(named) if isinstance(named, str) else named
        said = function(result)
        if inspect.isawaitable(said):
            raise TaskError("a check's function must not be asynchronous")
        return None if said is None or said is True else str(said) if said else "the function says no"

    def _load(self, named: str) -> Callable[..., Any]:
        if (fault := function_fault(named, self._folder)) or self._folder is None:
            raise TaskError(fault or "the task is in no file")
        file, _, name = named.partition("::")
        path = self._folder / file
        module_spec = importlib.util.spec_from_file_location(f"arriero_check_{path.stem}", path)
        assert module_spec is not None
        assert module_spec.loader is not None
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
        function = getattr(module, name, None)
        if not callable(function):
            raise TaskError(f"{file} has no function {name}")
        return function  # type: ignore[no-any-return]


_CHECKS: dict[str, Callable[[Checker, Any, StepResult], str | None]] = {
    "equals": Checker._equals,
    "contains": Checker._contains,
    "matches": Checker._matches,
    "number": Checker._number,
    "json_schema": Checker._json_schema,
    "tool_called": Checker._tool_called,
    "tool_not_called": Checker._tool_not_called,
    "tool_order": Checker._tool_order,
    "max_tool_calls": Checker._max_tool_calls,
    "file_exists": Checker._file_exists,
    "expr": Checker._expr,
    "python": Checker._python,
}


def _calls_of(calls: tuple[CallRecord, ...], name: str) -> bool:
    return any(call.name == name and call.ok for call in calls)


def _number_in(result: StepResult) -> float | None:
    if isinstance(result.output, (int, float)) and not isinstance(result.output, bool):
        return float(result.output)
    found = _NUMBER.findall(result.text)
    return float(found[-1].replace(",", "").replace("_", "")) if found else None


def _title(check: Check) -> str:
    value = getattr(check, check.kind)
    shown = getattr(value, "__name__", None) or (
        value.model_dump() if isinstance(value, NumberCheck) else value
    )
    return f"{check.kind}: {_short(shown)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
