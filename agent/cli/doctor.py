"""Says what keeps a question from being answered here, each with what mends it."""

import os
import sys

from arriero.agent.backends import Model, ModelError

from .exits import Exit, NotReady
from .runner import load
from .session import load_model
from .settings import Settings
from .terminal import Terminal, neutral


def examine(settings: Settings) -> Exit:
    """Print one line for each thing that was looked at; NOT_READY if the model or the sandbox is missing."""
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

    report = load(lambda: Sandbox.probe(settings.sandbox))
    ready = ready and report.level is not None
    unsafe = report.level in (None, "unsafe-none")
    say(bad if unsafe else note if report.reason else good, report.line)
    if report.limits:
        say(note, report.limits)
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
