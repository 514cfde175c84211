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
        _environment.compile(template)  # to parse it would let unknown filters pass
    except TemplateSyntaxError as error:
        return [(error.lineno - 1, f"{error.message}")]
    return []


def used(template: str) -> list[tuple[int, str, tuple[str, ...]]]:
    """The names that a template asks for: line from 0, root, and the keys below it as far as they are written out."""
    try:
        tree = _environment.parse(template)
    except TemplateSyntaxError:
        return []
    assigned = {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
    found: list[tuple[int, str, tuple[str, ...]]] = []
    inner: set[int] = set()
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Name)):  # from the outside in
        if id(node) in inner:
            continue
        keys: list[str] = []
        whole: nodes.Node = node
        while isinstance(whole, (nodes.Getattr, nodes.Getitem)):
            key = whole.attr if isinstance(whole, nodes.Getattr) else getattr(whole.arg, "value", None)
            keys = [key, *keys] if isinstance(key, str) else []
            whole = whole.node
            inner.add(id(whole))
        if isinstance(whole, nodes.Name) and whole.ctx == "load" and whole.name not in assigned:
            found.append((node.lineno - 1, whole.name, tuple(keys)))
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
