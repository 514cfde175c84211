"""Which level of the sandbox can be had here: found by trying, once per process, and never assumed."""

import functools
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from . import bwrap, inside_walls, seccomp
from .attest import missing_walls
from .cgroup import Cgroup
from .errors import SandboxBroken, SandboxUnavailable
from .interpreter import Interpreter, Named, find
from .limits import SandboxLimits
from .plan import UNSAFE, LevelName, Variant
from .process import Child
from .wire import Closed, FrameReader

Wanted = Literal["auto", "bubblewrap", "landlock", "unsafe-none"]
_PROBE_S = 30.0
_LEAST_LANDLOCK = 6  # from here on, signals and abstract sockets can be confined

_lock = threading.Lock()
_found: dict[tuple[LevelName, Interpreter], Variant] = {}
_refused: dict[tuple[LevelName, Interpreter], str] = {}


@dataclass(frozen=True, slots=True)
class LevelReport:
    """Which level is used and why it is not a better one; ``level`` is None where there is none.

    ``reason`` says what kept the better level away, ``fix`` how to get it; both are empty at the best level.
    ``limits`` says how memory and processes are limited.
    """

    level: LevelName | None
    detail: str = ""
    reason: str = ""
    fix: str = ""
    limits: str = ""

    @property
    def line(self) -> str:
        """One line for people."""
        if self.level is None:
            return f"Python tool refused: {self.reason}. {self.fix}".rstrip()
        if self.level == UNSAFE:
            return f"Python runs WITHOUT A SANDBOX: {self.detail}. {self.fix}"
        if not self.reason:
            return f"Python runs in a sandbox: {self.detail}"
        return f"Python runs in a sandbox of the second level ({self.detail}): {self.reason}. {self.fix}".rstrip()


def report(wanted: Wanted = "auto", python: Named = None) -> LevelReport:
    """Try the levels from the best down; blocks for about a tenth of a second the first time.

    ``"unsafe-none"`` is reported as what it is, and never for another wish. ``python`` names the interpreter, as
    for Sandbox.
    """
    try:
        interpreter = find(python)
    except SandboxUnavailable as error:
        return LevelReport(None, "", str(error))
    if wanted == UNSAFE:
        return LevelReport(UNSAFE, _UNSAFE, "it was asked for", _UNSAFE_FIX)
    variant = _try("bubblewrap", interpreter) if wanted != "landlock" else None
    reason = _refused.get(("bubblewrap", interpreter), "")
    if variant is not None:
        return LevelReport(variant.level, str(variant), limits=_limits())
    fix = _fix(reason) if wanted != "landlock" else ""
    if wanted == "bubblewrap":
        return LevelReport(None, "", reason, fix)
    second = _try("landlock", interpreter)
    if second is not None:
        return LevelReport(second.level, _LANDLOCK, reason, fix, _limits())
    both = "; ".join(part for part in (reason, _refused["landlock", interpreter]) if part)
    return LevelReport(None, "", both, fix or _fix(""))


_UNSAFE = "the model's code can read, change and send all that you can"
_UNSAFE_FIX = "Do so only inside a container of your own."
_LANDLOCK = "Landlock and seccomp, no network, without namespaces"


@functools.cache
def _limits() -> str:
    group = Cgroup.make(SandboxLimits())
    if group is None:
        return "memory and processes are sampled, as no control group (v2) is delegated to this user"
    group.remove()
    return "memory and processes are limited by a control group"


def choose(wanted: Wanted = "auto", python: Named = None) -> Variant:
    """The best variant that works here; raises SandboxUnavailable with the reason and the fix."""
    found = report(wanted, python)
    if found.level is None:
        raise SandboxUnavailable(found.line)
    interpreter = find(python)
    return _found[found.level, interpreter] if found.level != UNSAFE else Variant(UNSAFE, interpreter)


def forget() -> None:
    """Try anew at the next question, for someone who has just installed what was missing."""
    with _lock:
        _found.clear()
        _refused.clear()
    bwrap.program.cache_clear()
    find.cache_clear()


def _try(level: LevelName, python: Interpreter) -> Variant | None:
    with _lock:
        tried = level, python
        if tried not in _found and tried not in _refused:
            try:
                _found[tried] = _first_that_works(level, python)
            except SandboxUnavailable as error:
                _refused[tried] = str(error)
        return _found.get(tried)


def _first_that_works(level: LevelName, python: Interpreter) -> Variant:
    if sys.platform != "linux":
        raise SandboxUnavailable(f"there is no sandbox for {platform.system()} yet")
    try:
        seccomp.build(seccomp.Policy())
    except LookupError as error:
        raise SandboxUnavailable(str(error)) from error
    problems: list[str] = []
    for variant in _candidates(level, python):
        problem = _in_own_thread(functools.partial(probe, variant))
        if not problem:
            return variant
        problems.append(problem)
    raise SandboxUnavailable(problems[0])


def _candidates(level: LevelName, python: Interpreter) -> list[Variant]:
    if level == "landlock":
        abi = inside_walls.landlock_abi()
        if abi < _LEAST_LANDLOCK:
            had = f"version {abi}" if abi else "none"
            raise SandboxUnavailable(
                f"this kernel's Landlock is too old (it has {had}, {_LEAST_LANDLOCK} is needed)"
            )
        return [Variant("landlock", python)]
    _, options = bwrap.program()
    nested = (
        [True, False] if "--disable-userns" in options and "--assert-userns-disabled" in options else [False]
    )
    # Root of a container that is an ordinary user outside may have no other user to drop to.
    users = [False, True] if os.geteuid() == 0 else [True]
    return [
        Variant("bubblewrap", python, user_namespace=user, nested_lock=lock and user, own_proc=proc)
        for user in users
        for proc in (True, False)
        for lock in (nested if user else [False])
    ]


def probe(variant: Variant) -> str:
    """Build the variant's walls around nothing and let the self-test look; returns what is wrong, or ''."""
    child = None
    try:
        child = Child(variant, SandboxLimits(), preload=(), probe=True)
        child.find_init(5.0)
        reader = FrameReader(child.answers, 2**20, 2**20)
        frame = reader.read(time.monotonic() + _PROBE_S)
        if frame is None:
            return "the self-test did not answer in time"
        if frame.get("t") != "ready":
            return str(frame.get("d"))[:300]
        return ", ".join(missing_walls(frame, child))
    except Closed:
        return (child.complaint() if child else "") or "the self-test ended without a word"
    except (SandboxBroken, SandboxUnavailable, OSError) as error:
        return str(error)
    finally:
        if child is not None:
            child.close()


def _in_own_thread(work: Callable[[], str]) -> str:
    # Not in the caller's: its end would be the end of what it started, and it may be an event loop's.
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(work()), name="arriero-self-test")
    thread.start()
    thread.join()
    return answers[0] if answers else "the self-test failed"


def _fix(reason: str) -> str:
    if sys.platform != "linux":
        return "Run arriero on Linux, in a Linux container, or in WSL 2."
    if "Python lives" in reason:
        return ""  # says it itself
    if "not installed" in reason or "does not run" in reason:
        return "For the full one install it: apt-get install bubblewrap, or by your system's package manager."
    if "setuid" in reason or not reason:
        return "Install bubblewrap 0.8 or newer, or use Linux 6.12 or newer with Landlock."
    return (
        "For the full one allow user namespaces: "
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu, "
        "user.max_user_namespaces above 0, or a container started with --security-opt seccomp=unconfined."
    )
