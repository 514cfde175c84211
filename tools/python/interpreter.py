"""The interpreter that runs the model's code: arriero's own, or one that the user names for its packages."""

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import SandboxUnavailable

_OLDEST = (3, 11)  # what the code that runs inside is written for
_PATIENCE_S = 30.0
_TOO_WIDE = frozenset(
    ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/mnt", "/opt", "/proc", "/root", "/run", "/srv",
     "/sys", "/tmp", "/var")  # noqa: S108 - refused, not used
)  # fmt: skip
_ASK = """
import importlib.util, json, sys
print(json.dumps({
    "executable": sys.executable,
    "version": sys.version_info[:2],
    "prefixes": [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix],
    "kernel": importlib.util.find_spec("ipykernel") is not None,
}))
"""


Named = str | Path | None
"""A Python as users name it; see ``find``."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: the file that is started, and the directories that it has its libraries and packages in."""

    executable: str
    prefixes: tuple[str, ...]

    def roots(self) -> tuple[tuple[str, str], ...]:
        """(real directory, name inside) of what it needs besides /usr, shortest first.

        Raises SandboxUnavailable when that would expose a whole home or system directory.
        """
        return _roots(self)


OWN = Interpreter(
    sys.executable, tuple(sorted({sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}))
)
"""The one that arriero itself runs in."""


@functools.cache
def find(named: Named) -> Interpreter:
    """The interpreter that the user names: a file, a virtual environment, or a command; None is arriero's own.

    It is started once, outside the sandbox, to say where its packages are. Raises SandboxUnavailable, with what to
    do, for what is no Python of version 3.11 or newer, or has no ipykernel.
    """
    if named is None:
        return OWN
    path = os.path.expanduser(named)
    if os.path.isdir(path):
        path = os.path.join(path, "bin", "python")
    program = shutil.which(path)
    if program is None:
        raise SandboxUnavailable(
            f"{path} is no program; name a Python or a virtual environment that has ipykernel"
        )
    facts = _ask(os.path.abspath(program))
    if tuple(facts["version"]) < _OLDEST:
        had, least = (".".join(map(str, version)) for version in (facts["version"], _OLDEST))
        raise SandboxUnavailable(f"{program} is Python {had}; the sandbox needs {least} or newer")
    executable = facts["executable"]
    if not facts["kernel"]:
        raise SandboxUnavailable(
            f"{executable} has no ipykernel; install it there: {executable} -m pip install ipykernel"
        )
    interpreter = Interpreter(executable, tuple(sorted(set(facts["prefixes"]))))
    _roots(interpreter)  # at every level alike: what would have to be exposed is refused here
    return interpreter


def _ask(program: str) -> dict[str, Any]:
    command = [program, "-I", "-c", _ASK]
    try:
        said = subprocess.run(  # noqa: S603
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE_S, cwd="/", check=True
        ).stdout
        facts = json.loads(said.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise SandboxUnavailable(f"{program} does not run as a Python: {error}") from error
    if not isinstance(facts, dict) or facts.keys() != {"executable", "version", "prefixes", "kernel"}:
        raise SandboxUnavailable(f"{program} does not answer as a Python")
    return facts


@functools.cache
def _roots(python: Interpreter) -> tuple[tuple[str, str], ...]:
    named = set(python.prefixes)
    link = python.executable
    while os.path.islink(link):  # a virtual environment's python may point through a link to the real prefix
        link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
        named.add(os.path.dirname(os.path.dirname(link)))
    pairs = {(os.path.realpath(name), name) for name in named}
    pairs |= {(real, real) for real, _ in pairs}
    pairs = {(real, name) for real, name in pairs if real != "/usr" and not real.startswith("/usr/")}
    home = os.path.realpath(Path.home())
    for real, _ in pairs:
        if real in _TOO_WIDE or real == home or home.startswith(real + "/"):
            raise SandboxUnavailable(
                f"Python lives directly in {real}, which the sandbox would have to expose; "
                "use a virtual environment in a directory of its own"
            )
    return tuple(sorted(pairs, key=lambda pair: (len(pair[1]), pair)))
