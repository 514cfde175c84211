"""The self-test: each wall that is missing is noticed, and a refusal says why and what to do."""

import copy
import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from arriero.tools.python import LevelReport, SandboxUnavailable, plan
from arriero.tools.python.attest import check, missing_walls
from arriero.tools.python.interpreter import OWN
from arriero.tools.python.levels import choose, report
from arriero.tools.python.plan import Places, Variant
from arriero.tools.python.process import Child

PLACES = Places("/work", "/tmp", "/home/user", "/tmp/.k")
INNER = {"no_new_privs": 1, "seccomp": 2, "capabilities": 0, "lists": [], "unix": True, "inet": True, "vsock": False,
         "packet": False}  # fmt: skip
OUTER = {
    "no_new_privs": 1, "seccomp": 2, "capabilities": 0, "bounding": 0, "uid": 1000, "host": "sandbox",
    "interfaces": ["lo"], "sees": [], "environment": ["PATH", "PWD"],
    "namespaces": {kind: f"{kind}:[1]" for kind in ("user", "pid", "net", "ipc", "uts", "mnt", "cgroup")},
}  # fmt: skip


def child(level: str) -> Child:
    return cast(Child, SimpleNamespace(variant=Variant(cast(Any, level)), places=PLACES))


def frame(outer: dict[str, Any] | None = None, inner: dict[str, Any] | None = None) -> dict[str, Any]:
    return copy.deepcopy({"outer": {**OUTER, **(outer or {})}, "inner": {**INNER, **(inner or {})}})


def test_all_walls_stand() -> None:
    assert missing_walls(frame(), child("bubblewrap")) == []
    assert missing_walls(frame(inner={"unix": False, "inet": False}), child("landlock")) == []


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ({"capabilities": 1}, {}),
        ({"no_new_privs": 0}, {}),
        ({"seccomp": 0}, {}),
        ({"uid": 0}, {}),
        ({"host": os.uname().nodename}, {}),
        ({"interfaces": ["eth0", "lo"]}, {}),
        ({"sees": ["/etc/shadow"]}, {}),
        ({"environment": ["PATH", "API_KEY"]}, {}),
        ({"environment": None}, {}),
        ({"namespaces": None}, {}),
        ({"namespaces": {**OUTER["namespaces"], "net": os.readlink("/proc/self/ns/net")}}, {}),  # type: ignore[dict-item]
        ({}, {"seccomp": 0}),
        ({}, {"lists": ["/"]}),
        ({}, {"lists": None}),
        ({}, {"vsock": True}),
        ({}, {"packet": None}),
        ({}, {"error": "OSError: Landlock"}),
    ],
)
def test_each_missing_wall_is_noticed(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    with pytest.raises(SandboxUnavailable, match="self-test failed"):
        check(frame(outer, inner), child("bubblewrap"))


def test_sockets_count_where_there_are_no_namespaces() -> None:
    assert len(missing_walls(frame(), child("landlock"))) == 2


@pytest.mark.parametrize("nonsense", [{}, {"outer": 1, "inner": []}, {"outer": OUTER}])
def test_no_report_is_no_wall(nonsense: dict[str, Any]) -> None:
    assert missing_walls(nonsense, child("bubblewrap")) == ["no report"]


def test_the_line_says_level_reason_and_fix() -> None:
    assert "bubblewrap" in LevelReport("bubblewrap", "bubblewrap (user namespace)").line
    second = LevelReport("landlock", "Landlock", "bubblewrap is not installed", "Install it.").line
    assert "not installed. Install it." in second
    assert "\n" not in second
    assert LevelReport(None, "", "too old", "Update.").line.startswith("Python tool refused: too old")


def test_a_level_is_tried_for_real() -> None:
    found = report()
    if found.level is None:
        with pytest.raises(SandboxUnavailable, match="refused"):
            choose()
    else:
        assert choose().level == found.level


def test_only_the_interpreter_is_exposed() -> None:
    roots = OWN.roots()
    assert all(real not in ("/", "/root", "/home", os.path.expanduser("~")) for real, _ in roots)
    assert not any(
        plan.work_directory(OWN) == name or name.startswith(plan.work_directory(OWN) + "/")
        for _, name in roots
    )
