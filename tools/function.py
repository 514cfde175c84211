"""The ``@tool`` decorator: a plain Python function becomes a tool that a model can call.

The schema is made from the type hints by pydantic; descriptions come from the docstring, read by griffe in
the Google, NumPy or Sphinx style.
"""

import inspect
import re
import sys
import threading
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    ParamSpec,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from arriero.prompts import ToolSpec
from arriero.prompts.errors import ArrieroError

from ._docstrings import Documentation, read_docstring
from ._results import as_result
from .base import Effect, ModelRetry, RunContext, Tool, ToolContext, ToolResult
from .threads import Places, in_thread

if TYPE_CHECKING:
    from .processes import Processes

P = ParamSpec("P")
R = TypeVar("R")

Approval: TypeAlias = bool | Callable[[dict[str, Any]], bool]

# Whether the function is async, and whether it runs in a process: what becomes of a call that overran its time.
_WHEN_LATE = {
    (True, False): "was stopped",
    (False, False): "was left to finish by itself: it may still do what was asked",
    (True, True): "its process was killed",
    (False, True): "its process was killed",
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


class ToolDefinitionError(ArrieroError):
    """A function cannot be made into a tool; the message says what to change."""


class FunctionTool(Tool, Generic[P, R]):
    """A function as a tool; calling it calls the function, as if it had not been decorated."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "once",
        timeout: float | None = None,
        approval: Approval = False,
        max_concurrency: int | None = None,
        process: bool = False,
    ) -> None:
        self.function: Callable[..., Any] = function
        name = name or str(getattr(function, "__name__", ""))
        if not _NAME.fullmatch(name):
            raise ToolDefinitionError(
                f"{name or function!r} cannot be the name of a tool: give one with @tool(name=…), "
                "of letters, digits, '_', '-' and '.', at most 64"
            )
        if timeout is not None and timeout <= 0:
            raise ToolDefinitionError(f"tool {name}: timeout must be more than 0 seconds")
        if max_concurrency is not None and max_concurrency < 1:
            raise ToolDefinitionError(f"tool {name}: max_concurrency must be at least 1")
        documentation = read_docstring(inspect.getdoc(_routine(function)))
        self._arguments = _arguments_model(function, name, documentation)
        self._names = {field: str(info.alias) for field, info in self._arguments.model_fields.items()}
        self._context_name = _context_parameter(function, name)
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004
        )
        self._processes = _processes(function, name, self._context_name) if process else None
        self.when_late = _WHEN_LATE[self._is_async, process]
        self.effect = effect
        self.timeout = timeout
        self._approval = approval
        self._places = Places(max_concurrency) if max_concurrency is not None else None
        self.spec = ToolSpec(
            name=name,
            description=documentation.summary if description is None else description,
            parameters=_schema(self._arguments, name),
        )
        if inspect.isroutine(function):
            update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        value: R = self.function(*args, **kwargs)
        return value

    def __repr__(self) -> str:
        return f"<tool {self.spec.name}>"

    def needs_approval(self, arguments: dict[str, Any]) -> bool:
        """What ``approval`` says; a rule that is a function is given the arguments as the model wrote them."""
        return self._approval(arguments) if callable(self._approval) else self._approval

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Check and coerce the arguments, call the function, and write what it returned.

        A function that is not async runs in a thread of its own; when the call is cancelled the thread is left
        to finish alone, and keeps its place under ``max_concurrency`` until it has. One made with ``process``
        runs in another process, which a cancelled call kills. Raises ModelRetry for arguments that do not fit,
        else whatever the function raises (from a process, ToolError with its text).
        """
        values = self._validated(arguments)
        if self._context_name is not None:
            values[self._context_name] = context
        if self._places:
            await self._places.acquire()
        try:
            if self._processes:
                return await self._elsewhere(self._processes, arguments)
            if not self._is_async:
                return await self._threaded(partial(self.function, **values))
            try:
                return as_result(await self.function(**values), name=self.name)
            finally:
                self._release()
        except SystemExit as error:
            raise RuntimeError(f"the tool tried to end the program, with code {error.code}") from None
        except KeyboardInterrupt:
            if self._is_async and threading.current_thread() is threading.main_thread():
                raise
            # Ctrl-C reaches the main thread alone: the function has raised it itself.
            raise RuntimeError("the tool raised KeyboardInterrupt") from None

    async def aclose(self) -> None:
        """End the processes of a tool made with ``process``."""
        if self._processes:
            self._processes.close()

    async def _elsewhere(self, processes: "Processes", arguments: dict[str, Any]) -> ToolResult:
        try:
            return await processes.run(arguments)
        finally:
            self._release()

    async def _threaded(self, call: Callable[[], Any]) -> ToolResult:
        def work() -> Any:
            value = call()
            return value if inspect.isawaitable(value) else as_result(value, name=self.name)

        value = await in_thread(work, name=f"tool {self.name}", at_end=self._release)
        return value if isinstance(value, ToolResult) else as_result(await value, name=self.name)

    def _release(self) -> None:
        if self._places:
            self._places.release()

    def _validated(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            checked = self._arguments.__pydantic_validator__.validate_python(arguments)
        except ValidationError as error:
            raise ModelRetry(_explain(self.spec.name, error)) from None
        given = checked.__dict__
        return {self._names[field]: given[field] for field in checked.model_fields_set}


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect = "once",
    timeout: float | None = None,
    approval: Approval = False,
    max_concurrency: int | None = None,
    process: bool = False,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect = "once",
    timeout: float | None = None,
    approval: Approval = False,
    max_concurrency: int | None = None,
    process: bool = False,
) -> FunctionTool[P, R] | Callable[[Callable[P, R]], FunctionTool[P, R]]:
    """Make a tool from a function, sync or async, with annotated parameters.

    ``name`` and ``description`` default to the function's own; ``effect`` says whether a call may be repeated
    after a crash; ``timeout`` is in seconds, None leaves it to the loop. ``approval`` is True, or a function of
    the arguments that says so, for calls that a person must agree to. ``max_concurrency`` calls at most run at
    one time, the others wait (within their timeout). ``process`` runs the function, which must stand at the top
    of a module, in another process that is killed when its time is over; without it a function that is not async
    runs in a thread, which can only be abandoned.

    A parameter annotated ``RunContext[…]`` is given the context of the call and hidden from the model. The
    function returns a str, anything that can be written as JSON, a pydantic model, bytes, an image that can write
    itself as PNG, a Path to a file, an Artifact, a list of these, or a ToolResult. Raises ToolDefinitionError, at
    once, for a signature that a model cannot fill.
    """

    def decorate(function: Callable[P, R]) -> FunctionTool[P, R]:
        return FunctionTool(
            function,
            name=name,
            description=description,
            effect=effect,
            timeout=timeout,
            approval=approval,
            max_concurrency=max_concurrency,
            process=process,
        )

    return decorate if function is None else decorate(function)


def as_tool(thing: Tool | Callable[..., Any]) -> Tool:
    """Return a tool as it is, and a plain function as the tool that ``@tool`` makes of it."""
    if isinstance(thing, Tool):
        return thing
    if isinstance(thing, type) or not callable(thing):
        raise ToolDefinitionError(f"{thing!r} is neither a tool nor a function")
    return FunctionTool(thing)


class _SchemaWriter(GenerateJsonSchema):
    """Writes no titles that only repeat names, and stays silent about defaults that have no JSON form."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schema(arguments: type[BaseModel], name: str) -> dict[str, Any]:
    try:
        schema = arguments.model_json_schema(schema_generator=_SchemaWriter)
    except PydanticUserError as error:
        raise ToolDefinitionError(f"tool {name}: {_first_line(error)}") from None
    # The model needs neither our class's name nor the rule that we enforce anyway.
    for noise in ("title", "description", "additionalProperties"):
        schema.pop(noise, None)
    properties = {key: _in_order(value) for key, value in schema.pop("properties", {}).items()}
    return {"type": "object", "properties": properties} | schema


def _in_order(schema: dict[str, Any]) -> dict[str, Any]:
    """Type and description first, as in the tool definitions that Llama models were trained on."""
    return {key: schema[key] for key in ("type", "description") if key in schema} | schema


def _arguments_model(
    function: Callable[..., Any], name: str, documentation: Documentation
) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    hints = _hints(function, name)
    for parameter in _parameters(function, name):
        if _is_context(hints.get(parameter.name)):
            continue
        # Fields are numbered and parameters are aliases: a parameter may be called `json` or `_x`.
        fields[f"argument_{len(fields)}"] = _field(parameter, hints, name, documentation)
    config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, validate_by_alias=True)
    try:
        return create_model("Arguments", __config__=config, **fields)
    except PydanticUserError as error:
        raise ToolDefinitionError(f"tool {name}: {_first_line(error)}") from None


def _field(
    parameter: inspect.Parameter, hints: dict[str, Any], name: str, documentation: Documentation
) -> tuple[Any, Any]:
    where = f"tool {name}: parameter {parameter.name!r}"
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise ToolDefinitionError(f"{where} takes any number of arguments; name each one instead")
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise ToolDefinitionError(f"{where} is positional-only; a model gives arguments by name")
    if parameter.name not in hints:
        raise ToolDefinitionError(f"{where} has no type annotation")
    if isinstance(parameter.default, FieldInfo):
        raise ToolDefinitionError(f"{where}: write Annotated[type, Field(…)] and a plain default")
    hint = hints[parameter.name]
    required = parameter.default is inspect.Parameter.empty
    info = Field(... if required else parameter.default, alias=parameter.name)
    described = documentation.parameters.get(parameter.name)
    if described and not _is_described(hint):
        info = Field(... if required else parameter.default, alias=parameter.name, description=described)
    return hint, info


def _is_described(hint: Any) -> bool:
    if get_origin(hint) is not Annotated:
        return False
    return any(isinstance(item, FieldInfo) and item.description for item in get_args(hint)[1:])


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ToolDefinitionError(f"tool {name}: the function yields; return one value instead")
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise ToolDefinitionError(f"tool {name}: the function's signature cannot be read") from None


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(_routine(function), include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise ToolDefinitionError(f"tool {name}: an annotation cannot be resolved: {error}") from None


def _context_parameter(function: Callable[..., Any], name: str) -> str | None:
    hints = get_type_hints(_routine(function))
    found = [key for key in inspect.signature(function).parameters if _is_context(hints.get(key))]
    if len(found) > 1:
        raise ToolDefinitionError(f"tool {name}: two parameters are annotated RunContext")
    return found[0] if found else None


def _processes(function: Callable[..., Any], name: str, context: str | None) -> "Processes":
    """Raises ToolDefinitionError for what another process cannot find or cannot be given."""
    from .processes import Processes

    where = f"tool {name}: process=True"
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", "<")
    if not module or "<" in qualname:
        raise ToolDefinitionError(f"{where} needs a function that stands at the top of a module")
    if module == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
        raise ToolDefinitionError(f"{where} needs a function in a file, not one typed into the interpreter")
    if context is not None:
        raise ToolDefinitionError(f"{where}: {context!r} cannot be given to another process")
    return Processes(module, qualname, name=name)


def _is_context(hint: Any) -> bool:
    return hint is RunContext or get_origin(hint) is RunContext


def _routine(function: Any) -> Any:
    """The function that holds the annotations of a partial or of an object with ``__call__``."""
    while isinstance(function, partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _explain(name: str, error: ValidationError) -> str:
    problems = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in item["loc"]) or "arguments"
        said = {"extra_forbidden": "there is no such argument", "missing": "this argument is required"}
        problems.append(f"{place}: {said.get(item['type'], item['msg'])}")
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return f"{name} was not called: {'; '.join(problems[:5])}{more}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
