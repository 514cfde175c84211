"""Comparing what a sandbox reports of its walls, before any code of the model ran, with what has to be."""

import os
from typing import Any

from . import plan
from .errors import SandboxUnavailable
from .plan import UNSAFE
from .process import Child

_OF_PYTHON_AND_BWRAP = {"PWD", "LC_CTYPE", "SHLVL", "_"}


def check(frame: dict[str, Any], child: Child) -> None:
    """Raise SandboxUnavailable, with every wall that is missing, unless all of the variant's walls stand."""
    missing = list(missing_walls(frame, child))
    if missing:
        raise SandboxUnavailable("the sandbox's self-test failed: " + ", ".join(missing))


def missing_walls(frame: dict[str, Any], child: Child) -> list[str]:
    """What the self-test's report lacks; empty when every wall stands."""
    if child.variant.level == UNSAFE:
        return []
    outer, inner = frame.get("outer"), frame.get("inner")
    if not isinstance(outer, dict) or not isinstance(inner, dict):
        return ["no report"]
    if "error" in inner:
        return [str(inner["error"])[:300]]
    missing = []
    for who, report in (("gateway", outer), ("kernel", inner)):
        for name, wanted in (("capabilities", 0), ("no_new_privs", 1), ("seccomp", 2)):
            if report.get(name) != wanted:
                missing.append(f"{who}: {name} is {report.get(name)!r}")
    if inner.get("lists") != []:
        missing.append(f"the kernel can list {inner.get('lists')}")
    open_families = [name for name in ("vsock", "packet") if inner.get(name) is not False]
    if child.variant.level == "landlock":
        open_families += [name for name in ("unix", "inet") if inner.get(name) is not False]
    missing += [f"sockets of family {name} open" for name in open_families]
    extra = (
        set(outer.get("environment") or ["?"])
        - set(plan.environment(child.places, child.variant.python))
        - _OF_PYTHON_AND_BWRAP
    )
    if extra:
        missing.append(f"environment has {sorted(extra)}")
    if child.variant.level == "bubblewrap":
        missing += _missing_namespaces(outer, child)
    return missing


def _missing_namespaces(outer: dict[str, Any], child: Child) -> list[str]:
    missing = []
    if outer.get("uid") == 0:
        missing.append("runs as uid 0")
    if outer.get("bounding") != 0 and os.geteuid() == 0:
        missing.append("bounding set is not empty")
    if outer.get("host") != "sandbox":
        missing.append("host name is the host's")
    if outer.get("interfaces") != ["lo"]:
        missing.append(f"network interfaces {outer.get('interfaces')}")
    if outer.get("sees") != []:
        missing.append(f"sees {outer.get('sees')}")
    reported = outer.get("namespaces")
    own = reported if isinstance(reported, dict) else {}
    kinds = ["pid", "net", "ipc", "uts", "mnt", *(["user"] if child.variant.user_namespace else [])]
    for kind in kinds if child.variant.own_proc else []:
        if not own.get(kind) or own[kind] == os.readlink(f"/proc/self/ns/{kind}"):
            missing.append(f"{kind} namespace is the host's")
    return missing
