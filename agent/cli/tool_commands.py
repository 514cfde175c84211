"""``arriero tools``: what can be offered to a model here, and trying one by hand."""

import difflib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from arriero.agent.calls import Repeats, Served, ServedCall, Service, refusal
from arriero.agent.cancellation import CancellationToken, Waits
from arriero.agent.events import ToolCallFinished
from arriero.agent.limits import Limits
from arriero.prompts import ArrieroError, ToolCall, coerce_arguments
from arriero.tools import Tool

from .artifacts import keep
from .errors import say_error
from .exits import Exit, NotReady, error_code
from .runner import Runner
from .session import Session
from .settings import TOOLS, Settings
from .terminal import neutral


def list_tools(settings: Settings) -> Exit:
    """One line a tool: its name here, its name to the model, and whether it works; those of MCP servers last."""
    with _session(settings) as session:
        for name, known_as in TOOLS.items():
            tool, why_not = session.toolbox.make(name)
            click.echo(f"{name:10} {known_as:18} {'ready' if tool else neutral(why_not)}")
        for name, tool in session.toolbox.start_servers().items():
            asks = ", asks for approval" if tool.needs_approval({}) else ""
            click.echo(f"{name:29} ready, from {_origin(tool)}{asks}")
        _tell(session)
    return Exit.OK


def show_tool(settings: Settings, name: str) -> Exit:
    """The specification that a model sees, as JSON."""
    with _session(settings) as session:
        click.echo(json.dumps(_tool(session, name).spec.model_dump(), indent=2, ensure_ascii=False))
    return Exit.OK


def call_tool(settings: Settings, name: str, given: Sequence[str]) -> Exit:
    """Run one call: its result on stdout, where its artifacts are on stderr; FAILED if it reports an error."""
    with _session(settings) as session:
        tool = session.tools[name] = _tool(session, name)
        arguments = coerce_arguments(_known(tool, _arguments(given)), tool.spec.parameters)
        call = ToolCall(id="call-1", name=tool.name, arguments=arguments)
        served = session.runner.call(_served(tool, call))
    finished = ToolCallFinished(
        run_id=uuid.uuid4().hex, seq=1, **served.report(Repeats(limit=2).answer(served))
    )
    click.echo(neutral(finished.content))
    for path in keep(finished.run_id, finished.artifacts) if finished.artifacts else ():
        click.echo(f"saved {path}", err=True)
    return Exit.OK if finished.ok else Exit.FAILED


def reporting(work: Callable[[], Exit]) -> Exit:
    """Do it; what arriero itself refuses becomes one line and an exit code."""
    try:
        return work()
    except ArrieroError as error:
        say_error(error)
        return error_code(error)


@contextmanager
def _session(settings: Settings) -> Iterator[Session]:
    runner = Runner()
    session = Session(settings, runner)
    try:
        yield session
    finally:
        session.close()
        runner.close()


def _tool(session: Session, name: str) -> Tool:
    """The tool of that name, for people or for models. Raises NotReady, and click.UsageError for no such tool."""
    own = next((short for short, known_as in TOOLS.items() if name in (short, known_as)), None)
    if own is not None:
        tool, why_not = session.toolbox.make(own)
        if tool is None:
            raise NotReady(why_not)
        return tool
    offered = session.toolbox.start_servers()
    _tell(session)
    if name in offered:
        return offered[name]
    known = [*TOOLS, *offered]
    close = difflib.get_close_matches(name, [*known, *TOOLS.values()], n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    if not session.settings.mcp:
        hint += " (tools of MCP servers need --mcp FILE)"
    raise click.UsageError(f"no tool is called {name!r}; {hint}")


def _origin(tool: Tool) -> str:
    from arriero.tools.mcp import MCPTool

    return f"the MCP server {tool.server.name}" if isinstance(tool, MCPTool) else "this program"


def _tell(session: Session) -> None:
    for line in session.toolbox.notices:
        click.echo(neutral(line), err=True)


def _arguments(given: Sequence[str]) -> dict[str, Any]:
    """``key=value`` pairs; a value that is JSON is read as that, all else is text."""
    arguments: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{pair!r} is not of the form key=value", param_hint="--arg")
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = value
    return arguments


def _known(tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, unless one of them looks like another one's name mistyped."""
    names = list(tool.spec.parameters.get("properties", {}))
    for name in arguments:
        close = difflib.get_close_matches(name, names, n=1) if name not in names else []
        if close:
            raise click.BadParameter(
                f"{tool.name} has no argument {name!r}; did you mean {close[0]!r}?", param_hint="--arg"
            )
    return arguments


async def _served(tool: Tool, call: ToolCall) -> Served:
    # Whoever types the call by hand has approved it.
    with Waits(CancellationToken()) as waits:
        service = Service({tool.name: tool}, Limits(), waits, approve=lambda name, arguments: True)
        unfit = refusal(call, service.tools)
        one = ServedCall(call, service, refused=f"Error: {unfit.reason}" if unfit else None)
        try:
            while await one.next():
                pass  # what it writes meanwhile is in its answer
        finally:
            await one.end()
    assert one.served is not None
    return one.served
