"""Control groups: what is asked of them, where none is to be had, and a real one where there is."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from arriero.tools.python import SandboxLimits
from arriero.tools.python.cgroup import Cgroup

LIMITS = SandboxLimits(memory_mb=100, work_mb=10, tmp_mb=5, shm_mb=3, home_mb=2, tasks=30)
UNIFIED = next(
    (
        path
        for path in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
        if (path / "cgroup.procs").exists()
    ),
    None,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files as of a group of one's own, in one that gives controllers to its children."""
    own = tmp_path / "user" / "mine"
    own.mkdir(parents=True)
    (own / "cgroup.subtree_control").write_text("")
    (own.parent / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (tmp_path / "membership").write_text("1:name=systemd:/x\n0::/user/mine\n")
    return tmp_path


def made(tree: Path) -> Cgroup | None:
    return Cgroup.make(LIMITS, root=tree, membership=tree / "membership")


def test_limits_are_set_in_a_group_beside_ones_own(tree: Path) -> None:
    group = made(tree)
    assert group is not None
    assert group.path.parent == tree / "user"
    written = {file.name: file.read_text() for file in group.path.iterdir()}
    assert written == {
        "memory.max": str(120 * 2**20),
        "memory.oom.group": "1",
        "memory.swap.max": "0",
        "pids.max": "94",
    }
    assert group.around(["prog", "x"])[-3:] == [str(group.path), "prog", "x"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("user/cgroup.subtree_control", "cpu pids"),
        ("membership", "0::/../other\n"),
        ("membership", "1:memory:/user/mine\n"),
        ("membership", "0::/else\n"),
    ],
)
def test_no_group_where_none_is_delegated(tree: Path, file: str, text: str) -> None:
    (tree / file).write_text(text)
    assert made(tree) is None
    assert not list(tree.glob("**/arriero-*"))


def test_running_out_of_memory_is_seen(tree: Path) -> None:
    group = made(tree)
    assert group is not None
    assert not group.out_of_memory()
    for count in ("0", "3"):
        (group.path / "memory.events").write_text(f"low 0\noom 9\noom_kill {count}\n")
        assert group.out_of_memory() is (count == "3")


def test_groups_left_by_the_killed_are_swept(tree: Path) -> None:
    old, used, young = (tree / "user" / f"arriero-sandbox-{name}" for name in ("old", "used", "young"))
    for path in (old, used, young):
        path.mkdir()
    (used / "cgroup.procs").write_text("1")
    for path in (old, used):
        os.utime(path, (0, 0))
    made(tree)
    assert (old.exists(), used.exists(), young.exists()) == (False, True, True)


def test_a_real_group_holds_kills_and_goes(tmp_path: Path) -> None:
    if UNIFIED is None or not os.access(UNIFIED / "cgroup.procs", os.W_OK):
        pytest.skip("no cgroup v2 that this user may write")
    (tmp_path / "membership").write_text("0::/\n")
    group = Cgroup.make(LIMITS, root=UNIFIED, membership=tmp_path / "membership", controllers=frozenset())
    if group is None:
        pytest.skip("no group can be made here")
    with subprocess.Popen(group.around(["/bin/sh", "-c", "sleep 300 & sleep 300"])) as started:
        end = time.monotonic() + 20
        while len((group.path / "cgroup.procs").read_text().split()) < 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert str(started.pid) in (group.path / "cgroup.procs").read_text().split()
        group.kill()
        assert started.wait(20) == -9
    group.remove()
    assert not group.path.exists()
