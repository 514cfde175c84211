"""Says what keeps a question from being answered here, each with what mends it."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from arriero.agent.backends import Model, ModelError

from .exits import Exit, NotReady
from .runner import load
from .session import load_model
from .settings import Settings
from .terminal import Terminal, neutral


def examine(settings: Settings) -> Exit:
    """Print a line for each thing that was looked at; NOT_READY if model, sandbox, screen or server is missing."""
    terminal = Terminal.detect(sys.stdout, plain=settings.plain)
    good, bad, note = terminal.symbol("✓", "ok"), terminal.symbol("✗", "!!"), terminal.symbol("·", "-")
    ready = True

    def say(mark: str, text: str) -> None:
        sys.stdout.write(f"{mark} {neutral(text)}\n")

    try:
        model = load(lambda: load_model(settings))
        say(good, f"model: {model.name}, {model.context_length:,} tokens of context, form {model.dialect}")
        for line in _devices(model):
            say(note, line)
    except (ModelError, NotReady) as error:
        ready = False
        say(bad, f"model: {error}")
    from arriero.tools.python import Sandbox

    report = load(lambda: Sandbox.probe(settings.sandbox, settings.python))
    ready = ready and report.level is not None
    unsafe = report.level in (None, "unsafe-none")
    say(bad if unsafe else note if report.reason else good, report.line)
    if report.limits:
        say(note, report.limits)
    screens_ready, lines = load(lambda: _screens(settings))
    ready = ready and screens_ready
    for ok, line in lines:
        say(good if ok else bad, line)
    for ok, line in load(lambda: asyncio.run(_servers(settings.mcp))):
        ready = ready and ok
        say(good if ok else bad, line)
    for name, found, lacking in _keyed_tools():
        say(good if found else note, f"{name}: set up" if found else lacking)
    return Exit.OK if ready else Exit.NOT_READY


def _devices(model: Model) -> list[str]:
    """What computes the model, if that is this process."""
    from arriero.agent.backends import LlamaCppModel
    from arriero.agent.backends.devices import describe_devices

    if not isinstance(model, LlamaCppModel):
        return []
    return [f"compute: {model.threads} threads; {model.placement.line}", *describe_devices()]


def _screens(settings: Settings) -> tuple[bool, list[tuple[bool, str]]]:
    """Whether every screen of the policy can be relied on, and a line for each that was tried on canaries."""
    from arriero.agent.guard_models import with_models
    from arriero.safety.policy import Policy, PolicyError
    from arriero.safety.trying import try_screens

    try:
        policy = with_models(Policy.named(settings.safety))
    except PolicyError as error:
        return False, [(False, f"safety: {error}")]
    tried = asyncio.run(try_screens(policy))
    good = len([one for one in tried if one.ok])
    whole = good == len(tried)
    lines = [(whole, f"safety: policy {policy.name}, {good} of {len(tried)} screens ready")]
    lines += [(True, f"safety: {one.line}") for one in tried if one.proved]
    problems: dict[tuple[str, str], list[str]] = {}
    for one in tried:
        if not one.ok:
            problems.setdefault((one.screen, one.line.partition(": ")[2]), []).append(one.place)
    lines += [
        (False, f"safety: {screen} at {', '.join(places)}: {problem}")
        for (screen, problem), places in problems.items()
    ]
    return whole, lines


async def _servers(files: Iterable[Path]) -> list[tuple[bool, str]]:
    """Whether each MCP server offers its tools, and a line about it."""
    from arriero.tools.mcp import MCPConfigError, MCPTool, load_mcp, read_config

    lines: list[tuple[bool, str]] = []
    for file in files:
        try:
            configured, toolset = read_config(file), await load_mcp(file)
        except MCPConfigError as error:
            lines.append((False, f"MCP: {error}"))
            continue
        async with toolset:
            offered = Counter(tool.server.name for tool in toolset.tools if isinstance(tool, MCPTool))
            for name in configured:
                why_not = toolset.failures.get(name)
                lines.append((why_not is None, f"MCP: {why_not or f'{name} offers {offered[name]} tools'}"))
    return lines


def _keyed_tools() -> list[tuple[str, bool, str]]:
    from arriero.tools import ToolError, search, wolfram

    named = os.environ.get(search.PROVIDER_VARIABLE, "").strip()
    try:
        found, lacking = search.from_env() is not None, search.help_for(named or None)
    except ToolError as error:
        found, lacking = False, f"{search.PROVIDER_VARIABLE}: {error}"
    return [
        ("search", found, lacking),
        ("Wolfram|Alpha", wolfram.WolframAlpha.from_env() is not None, wolfram.KEY_HELP),
    ]
