"""Prompts of tasks: Jinja2 in its sandbox, with every unknown name an error."""

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .errors import TaskError

ROOTS = ("inputs", "steps")
_ALONE = re.compile(r"\s*\{\{(?P<expression>(?:(?!\{\{|\}\}).)*)\}\}\s*", re.DOTALL)

_environment = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined,
    autoescape=False,  # prompts are not HTML
    keep_trailing_newline=False,
)
_environment.globals.clear()


def render(template: str, names: Mapping[str, Any]) -> str:
    """The text of a template. Raises TaskError for a name that is not there."""
    try:
        return _environment.from_string(template).render(names)
    except UndefinedError as error:
        raise TaskError(f"the template asks for something that is not there: {error.message}") from None
    except SecurityError as error:
        raise TaskError(f"the template does what templates may not: {error}") from None
    except TemplateError as error:
        raise TaskError(f"the template cannot be used: {error}") from None
    except Exception as error:
        raise TaskError(f"the template fails: {type(error).__name__}: {error}") from None


def resolve(value: Any, names: Mapping[str, Any]) -> Any:
    """A value of a task file with its templates filled in; one that is a single ``{{ }}`` keeps its type."""
    if isinstance(value, str):
        if not ("{{" in value or "{%" in value):
            return value
        if found := _ALONE.fullmatch(value):
            return _evaluated(found["expression"], names)
        return render(value, names)
    if isinstance(value, Mapping):
        return {key: resolve(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, names) for item in value]
    return value


def faults(template: str) -> list[tuple[int, str]]:
    """What is wrong with a template before it is ever used: lines from 0, and messages."""
    try:
        _environment.parse(template)
    except TemplateSyntaxError as error:
        return [(error.lineno - 1, f"{error.message}")]
    return []


def used(template: str) -> list[tuple[int, str, str | None]]:
    """The names that a template asks for: line from 0, root, and the key below it if that is written out."""
    try:
        tree = _environment.parse(template)
    except TemplateSyntaxError:
        return []
    assigned = {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
    found: list[tuple[int, str, str | None]] = []
    below: set[int] = set()
    for node in (*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)):
        owner = getattr(node, "node", None)
        if isinstance(owner, nodes.Name) and owner.name in ROOTS:
            key = (
                node.attr
                if isinstance(node, nodes.Getattr)
                else getattr(getattr(node, "arg", None), "value", None)
            )
            found.append((node.lineno - 1, owner.name, key if isinstance(key, str) else None))
            below.add(id(owner))
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and id(name) not in below and name.name not in assigned:
            found.append((name.lineno - 1, name.name, None))
    return found


class Placeholder:
    """Stands for what a step will have said, where prompts are shown without running anything."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, key: str) -> "Placeholder":
        if key.startswith("__"):
            raise AttributeError(key)
        return Placeholder(f"{self._name}.{key}")

    def __getitem__(self, key: object) -> "Placeholder":
        return Placeholder(f"{self._name}[{key!r}]")

    def __str__(self) -> str:
        return f"«{self._name}»"

    def _combined(self, *_: object) -> "Placeholder":
        return Placeholder(f"{self._name}…")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _combined
    __floordiv__ = __mod__ = __round__ = __neg__ = _combined


def _evaluated(expression: str, names: Mapping[str, Any]) -> Any:
    try:
        value = _environment.compile_expression(expression, undefined_to_none=False)(**names)
    except Exception as error:
        raise TaskError(f"{{{{{expression}}}}} cannot be filled in: {error}") from None
    if isinstance(value, StrictUndefined):
        raise TaskError(f"{{{{{expression}}}}} asks for something that is not there")
    return value
