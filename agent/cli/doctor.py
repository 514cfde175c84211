"""Says what keeps a question from being answered here, each with what mends it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from .checks import CHECKS, Finding
from .exits import Exit
from .runner import load
from .settings import Settings
from .terminal import Terminal, neutral


def examine(settings: Settings, *, verbose: bool = False, as_json: bool = False) -> Exit:
    """Print what is ill and what mends it, with ``verbose`` everything that was looked at.

    NOT_READY where a question cannot be answered as the settings ask.
    """
    terminal = Terminal.detect(sys.stdout, plain=settings.plain)
    found = load(lambda: [finding for check in CHECKS for finding in check(settings, terminal)])
    ready = all(finding.state != "broken" for finding in found)
    if as_json:
        told = {"ready": ready, "findings": [asdict(finding) for finding in found]}
        sys.stdout.write(f"{json.dumps(told, indent=1)}\n")
    else:
        _tell(found, terminal, verbose=verbose)
    return Exit.OK if ready else Exit.NOT_READY


def _tell(found: Sequence[Finding], terminal: Terminal, *, verbose: bool) -> None:
    marks = {
        "good": terminal.symbol("✓", "ok"),
        "off": terminal.symbol("·", "-"),
        "poor": terminal.symbol("!", "!"),
        "broken": terminal.symbol("✗", "!!"),
    }
    ill = [finding for finding in found if finding.state in ("poor", "broken")]
    for finding in found if verbose else ill:
        _say(f"{marks[finding.state]} {finding.check}: {finding.line}")
        # Many a message ends with what to do.
        if finding.fix and finding.fix not in finding.line:
            _say(f"  {terminal.symbol('→', '->')} {finding.fix}")
    if verbose:
        return
    if not ill:
        what = [finding.line for finding in found if finding.check == "model" and finding.state == "good"][:1]
        _say(f"{marks['good']} ready: {', '.join(what)}")
    off = dict.fromkeys(finding.check for finding in found if finding.state == "off")
    if off:
        _say(f"{marks['off']} not set up: {', '.join(off)}; arriero doctor -v says how")


def _say(text: str) -> None:
    sys.stdout.write(f"{neutral(text)}\n")
