"""The command line: nothing of the host can be written, and little can be read."""

import os

import pytest

from arriero.tools.python import Sandbox, SandboxLimits, bwrap
from arriero.tools.python.interpreter import OWN
from arriero.tools.python.plan import Variant


@pytest.fixture(params=[True, False], ids=["user namespace", "root"])
def options(request: pytest.FixtureRequest) -> list[str]:
    if Sandbox.probe("bubblewrap").level is None:
        pytest.skip("no bubblewrap here")
    uid = None if request.param else 61_200
    found, descriptors = bwrap.arguments(
        Variant("bubblewrap", user_namespace=request.param), SandboxLimits(), uid
    )
    for descriptor in descriptors:
        os.close(descriptor)
    return found


def test_no_host_directory_can_be_written(options: list[str]) -> None:
    assert not {"--bind", "--bind-try", "--dev-bind", "--dev-bind-try", "--bind-fd", "--share-net"} & set(
        options
    )
    assert options[-6:-2] == ["--remount-ro", "/dev", "--remount-ro", "/"]


def test_only_libraries_settings_and_the_interpreter_are_bound(options: list[str]) -> None:
    sources = {options[i + 1] for i, word in enumerate(options) if word in ("--ro-bind", "--ro-bind-try")}
    allowed = {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/dev/null"} | {
        real for real, _ in OWN.roots()
    }
    rest = {path for path in sources - allowed if not path.startswith(("/etc/", "/usr/"))}
    assert not rest


def test_every_writable_place_has_a_size(options: list[str]) -> None:
    for at, word in enumerate(options):
        if word == "--tmpfs":
            assert options[at - 2] == "--size"


def test_environment_is_ours_alone(options: list[str]) -> None:
    assert "--clearenv" in options
    names = {options[i + 1] for i, word in enumerate(options) if word == "--setenv"}
    assert not {name for name in names if "KEY" in name or "TOKEN" in name}
    assert "--new-session" in options
    assert "--die-with-parent" in options
