"""What a question needs, looked at one by one: each finding says how it stands and, if ill, what mends it."""

import asyncio
import os
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from arriero.agent.backends import LlamaCppModel, Model, ModelError
from arriero.prompts import ArrieroError

from .exits import NotReady
from .pictures import OTHERS, VARIABLE, Pictures, Protocol
from .session import load_model
from .settings import BUNDLED, SCRIPT, Settings
from .terminal import Terminal

State = Literal["good", "off", "poor", "broken"]
"""good: as it should be. off: not set up, and nothing needs it. poor: it works, but badly. broken: not ready."""

_INSTRUCTIONS: Final = {"avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "avx512f": "AVX512"}
"""What matters for speed: flags of Linux's /proc/cpuinfo, and names in llama.cpp's description of itself."""
_MEMINFO: Final = Path("/proc/meminfo")
_CPUINFO: Final = Path("/proc/cpuinfo")
_CGROUP: Final = Path("/sys/fs/cgroup")
_ANSWER: Final = "42"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``fix`` is what to do, where there is something."""

    check: str
    state: State
    line: str
    fix: str = ""


Check = Callable[[Settings, Terminal], Iterable[Finding]]


def build(settings: Settings, terminal: Terminal) -> Iterator[Finding]:
    """Whether llama.cpp loads and is built for what this machine has."""
    from arriero.agent.backends import llama_lib
    from arriero.agent.backends.devices import NVIDIA, build_command, describe_devices, find_devices

    if settings.model.startswith((SCRIPT, "http://", "https://")):
        return
    try:
        lib = llama_lib.load()
    except ModelError as error:
        yield Finding("llama.cpp", "broken", str(error), f"pip install '{llama_lib.REQUIREMENT}'")
        return
    built = lib.llama_print_system_info().decode("utf-8", "replace")
    lacking = [
        name for flag, name in _INSTRUCTIONS.items() if flag in _flags() and f"{name} = 1" not in built
    ]
    if lacking:
        again = f"pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python '{llama_lib.REQUIREMENT}'"
        yield Finding(
            "llama.cpp", "poor", f"built without {', '.join(lacking)}, which this processor has", again
        )
    else:
        yield Finding("llama.cpp", "good", f"built for this processor ({platform.machine()})")
    gpus = [device for device in find_devices(lib) if device.kind != "cpu"]
    state: State = "good" if gpus else "poor" if NVIDIA.exists() else "off"
    for line in describe_devices():
        yield Finding("GPU", state, line, "" if gpus else build_command())


def model(settings: Settings, terminal: Terminal) -> Iterator[Finding]:
    """Whether the model's file fits into memory and the model loads."""
    if tight := _tight(settings):
        yield tight
    try:
        loaded = load_model(settings)
    except (ModelError, NotReady) as error:
        yield Finding(
            "model", "broken", str(error), "arriero models list shows what can be had; -m names a file"
        )
        return
    yield Finding(
        "model", "good", f"{loaded.name}, {loaded.context_length:,} tokens of context, form {loaded.dialect}"
    )
    if isinstance(loaded, LlamaCppModel):
        yield Finding("model", "good", f"{loaded.threads} threads; {loaded.placement.line}")
    asyncio.run(_closed(loaded))


async def _closed(loaded: Model) -> None:
    await loaded.aclose()


def _tight(settings: Settings) -> Finding | None:
    """A word where the weights are larger than the memory that is free."""
    from arriero.agent.store.opening import model_path

    name = settings.model
    if name == BUNDLED or name.startswith((SCRIPT, "http://", "https://")):
        return None
    try:
        size = model_path(name).stat().st_size
    except (ArrieroError, OSError):
        return None  # said when it is loaded
    free = free_memory()
    if free is None or size < free:
        return None
    return Finding(
        "memory",
        "poor",
        f"the model has {size / 1e9:.1f} GB and {free / 1e9:.1f} GB of memory are free: it will crawl",
        "take a smaller one (arriero models list), or end other programs",
    )


def free_memory() -> int | None:
    """Bytes of memory that this process may still take, within its control group; None where nobody says."""
    found = [_meminfo(), _in_group()]
    return min((size for size in found if size is not None), default=None)


def _meminfo() -> int | None:
    for line in _read(_MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _in_group() -> int | None:
    most, used = _read(_CGROUP / "memory.max").strip(), _read(_CGROUP / "memory.current").strip()
    return int(most) - int(used) if most.isdecimal() and used.isdecimal() else None


def _flags() -> set[str]:
    found = next((line for line in _read(_CPUINFO).splitlines() if line.startswith("flags")), "")
    return set(found.split())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def python(settings: Settings, terminal: Terminal) -> Iterator[Finding]:
    """Whether there is a sandbox, and code runs in it."""
    from arriero.tools.python import Sandbox

    if settings.tools is not None and "python" not in settings.tools:
        return
    report = Sandbox.probe(settings.sandbox, settings.python)
    if report.level is None:
        yield Finding("sandbox", "broken", report.line, report.fix)
        return
    state: State = "poor" if report.reason or report.level == "unsafe-none" else "good"
    yield Finding("sandbox", state, report.line, report.fix if state == "poor" else "")
    if report.limits:
        yield Finding("sandbox", "good", report.limits)
    try:
        answer = asyncio.run(_round_trip(settings))
    except ArrieroError as error:
        answer = str(error)
    if _ANSWER in answer:
        yield Finding("kernel", "good", "Python answers")
    else:
        fix = "arriero --debug tools call python --arg code='print(6 * 7)' shows more"
        yield Finding("kernel", "broken", f"Python does not answer: {answer.strip()[:300]}", fix)


async def _round_trip(settings: Settings) -> str:
    from arriero.tools import ToolContext
    from arriero.tools.python import PythonTool

    tool = PythonTool(level=settings.sandbox, python=settings.python, spare=False, kernels=1)
    try:
        return (await tool.run({"code": "print(6 * 7)"}, ToolContext(call_id="doctor"))).content
    finally:
        await tool.aclose()


def screens(settings: Settings, terminal: Terminal) -> Iterator[Finding]:
    """Whether every screen of the policy can be relied on: each is tried on canaries."""
    from arriero.agent.guard_models import with_models
    from arriero.safety.policy import Policy, PolicyError
    from arriero.safety.trying import try_screens

    try:
        policy = with_models(Policy.named(settings.safety))
    except PolicyError as error:
        yield Finding("safety", "broken", str(error), "see docs/safety.md, or take --safety default")
        return
    tried = asyncio.run(try_screens(policy))
    ready = [one for one in tried if one.ok]
    yield Finding("safety", "good", f"policy {policy.name}, {len(ready)} of {len(tried)} screens ready")
    for one in ready:
        if one.proved:
            yield Finding("safety", "good", one.line)
    problems: dict[tuple[str, str], list[str]] = {}
    for one in tried:
        if not one.ok:
            problems.setdefault((one.screen, one.line.partition(": ")[2]), []).append(one.place)
    for (screen, problem), places in problems.items():
        fix = "docs/guards.md says how to get it; without it, every text there is blocked"
        yield Finding("safety", "broken", f"{screen} at {', '.join(places)}: {problem}", fix)


def servers(settings: Settings, terminal: Terminal) -> Iterable[Finding]:
    """Whether each MCP server offers its tools."""
    return asyncio.run(_servers(settings.mcp))


async def _servers(files: Iterable[Path]) -> list[Finding]:
    from arriero.tools.mcp import MCPConfigError, MCPTool, load_mcp, read_config

    found: list[Finding] = []
    for file in files:
        try:
            configured, toolset = read_config(file), await load_mcp(file)
        except MCPConfigError as error:
            found.append(Finding("MCP", "broken", str(error), f"mend {file}, or leave --mcp out"))
            continue
        async with toolset:
            offered = Counter(tool.server.name for tool in toolset.tools if isinstance(tool, MCPTool))
            for name in configured:
                why_not = toolset.failures.get(name)
                if why_not is None:
                    found.append(Finding("MCP", "good", f"{name} offers {offered[name]} tools"))
                else:
                    found.append(Finding("MCP", "broken", why_not, f"mend or remove {name} in {file}"))
    return found


def keys(settings: Settings, terminal: Terminal) -> Iterator[Finding]:
    """Which of the tools that need a key have one."""
    from arriero.tools import ToolError, wolfram
    from arriero.tools import search as web

    named = os.environ.get(web.PROVIDER_VARIABLE, "").strip()
    try:
        yield _set_up("search", web.from_env() is not None, web.help_for(named or None))
    except ToolError as error:
        yield Finding(
            "search", "broken", f"{web.PROVIDER_VARIABLE}: {error}", f"unset {web.PROVIDER_VARIABLE}"
        )
    yield _set_up("Wolfram|Alpha", wolfram.WolframAlpha.from_env() is not None, wolfram.KEY_HELP)


def _set_up(name: str, found: bool, lacking: str) -> Finding:
    return Finding(name, "good", "set up") if found else Finding(name, "off", lacking)


def journal(settings: Settings, terminal: Terminal) -> Iterator[Finding]:
    """Whether conversations can be kept."""
    from arriero.agent.journal import Journal

    if not settings.journal:
        return
    kept = Journal()
    try:
        yield Finding("journal", "good", f"{len(kept.sessions())} sessions in {kept.path}")
    except ArrieroError as error:
        yield Finding("journal", "broken", str(error), "--no-journal does without it")
    finally:
        kept.close()


def screen(settings: Settings, terminal: Terminal) -> Iterator[Finding]:
    """What the terminal can show."""
    if not sys.stdout.isatty():
        yield Finding("terminal", "good", "none: plain text, and nobody is asked anything")
        return
    pictures, wanted = Pictures(terminal), os.environ.get(VARIABLE, "")
    known = (*get_args(Protocol), *OTHERS)
    if wanted and wanted not in known:
        fix = f"export {VARIABLE}=auto, or another of {', '.join(known)}"
        yield Finding("terminal", "poor", f"{VARIABLE} is {wanted!r}, which means nothing", fix)
    if not terminal.unicode:
        yield Finding(
            "terminal", "poor", f"its encoding is {terminal.stream.encoding}", "export LC_ALL=C.UTF-8"
        )
    if not terminal.interactive and not settings.plain:
        kind = os.environ.get("TERM", "") or "not set"
        yield Finding(
            "terminal", "poor", f"TERM is {kind}: no Markdown, no boxes", "export TERM=xterm-256color"
        )
    if pictures.hint:
        yield Finding("terminal", "off", pictures.hint)
    colour = "colour" if terminal.colour else "no colour"
    yield Finding("terminal", "good", f"{terminal.width} columns, {colour}, pictures {pictures.protocol}")


CHECKS: Final[tuple[Check, ...]] = (build, model, python, screens, servers, keys, journal, screen)
