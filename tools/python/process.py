"""One sandbox's processes as the caller sees them: started, watched from outside, killed whatever they do."""

import contextlib
import fcntl
import functools
import os
import re
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from importlib import resources
from pathlib import Path

from . import bwrap, plan
from .cgroup import Cgroup
from .inside_files import remove_tree
from .limits import SandboxLimits
from .plan import Variant
from .wire import encode, ready_within

_MODULES = ("inside_walls", "inside_files", "inside_cells", "inside_kernel", "inside_boot")
_CHILD_PID = re.compile(rb'"child-pid":\s*(\d+)\D')
_SCRATCH = "arriero-sandbox-"
_SCRATCH_AGE_S = 60  # younger ones may not have been locked yet

# Takes the boot code from standard input, so that no file of the host has to be seen inside.
_LOADER = """
import importlib.abc, importlib.util, json, os, sys
def take(count):
    taken = b""
    while len(taken) < count:
        part = os.read(0, count - len(taken))
        if not part:
            os._exit(0)
        taken += part
    return taken
boot = json.loads(take(int.from_bytes(take(4), "big")))
class Sources(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name in boot["modules"]:
            return importlib.util.spec_from_loader(name, self, is_package=name == "arriero_inside")
    def exec_module(self, module):
        source = boot["modules"][module.__name__]
        exec(compile(source, "<" + module.__name__ + ">", "exec"), module.__dict__)
sys.meta_path.insert(0, Sources())
from arriero_inside.inside_boot import main
main(boot["config"])
"""


@functools.cache
def _sources() -> dict[str, str]:
    here = resources.files(__package__)
    modules = {
        f"arriero_inside.{name}": (here / f"{name}.py").read_text(encoding="utf-8") for name in _MODULES
    }
    return {"arriero_inside": "", **modules}


def descendants(root: int) -> list[int]:
    """``root`` and every process below it, parents first; processes that end meanwhile are left out."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def living(pid: int) -> str | None:
    """Where /proc tells of a process's memory and files: at a thread that has not ended, as the first may have.

    None where all have, and only their parent has not asked for them yet.
    """
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            state = Path(f"/proc/{pid}/task/{task}/stat").read_bytes().rpartition(b")")[2].split()[:1]
            if state not in ([b"Z"], [b"X"]):
                return f"/proc/{pid}/task/{task}"
    return None


class Child:
    """A started sandbox: the pipes to its boot code, and the one way to end it.

    Must be made in a thread that lives as long as the sandbox: the kernel ends a child made with
    ``--die-with-parent`` together with the thread that made it.
    """

    def __init__(
        self, variant: Variant, limits: SandboxLimits, *, preload: tuple[str, ...], probe: bool
    ) -> None:
        self.variant = variant
        self._lock = threading.Lock()
        self._ended = False
        self._init: int | None = None
        self._init_descriptor: int | None = None
        self._info: int | None = None
        self._kernel_group: int | None = None
        self._cgroup = None if probe else Cgroup.make(limits)
        uid = None
        if variant.level == "bubblewrap":
            uid = None if variant.user_namespace else plan.unused_uid()
            self.places = bwrap.places(variant.python)
            self._popen = self._start_bwrap(limits, uid)
        else:
            sweep_scratch()
            self.places = plan.scratch_places(f"{tempfile.gettempdir()}/{_SCRATCH}{secrets.token_hex(8)}")
            self._popen = self._start_plain()
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self.commands = self._popen.stdin.fileno()
        self.answers = self._popen.stdout.fileno()
        config = plan.configuration(variant, limits, self.places, uid, preload=preload, probe=probe)
        self._boot(encode({"modules": _sources(), "config": config}))

    @property
    def pid(self) -> int:
        return self._popen.pid

    def _start_bwrap(self, limits: SandboxLimits, uid: int | None) -> subprocess.Popen[bytes]:
        command, descriptors = bwrap.command(self.variant, limits, uid)
        self._info, info_end = os.pipe()
        descriptors.append(info_end)
        command[1:1] = ["--info-fd", str(info_end)]
        try:
            # env={}: where bwrap is process 1 inside, its environment can be read there whatever --clearenv
            # does.
            return self._popen_clean([*command, "-I", "-c", _LOADER], {}, "/", tuple(descriptors))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _start_plain(self) -> subprocess.Popen[bytes]:
        command = [self.variant.python.executable, "-I", "-c", _LOADER]
        return self._popen_clean(command, plan.environment(self.places, self.variant.python), "/", ())

    def _popen_clean(
        self, command: list[str], env: dict[str, str], cwd: str, pass_fds: tuple[int, ...]
    ) -> subprocess.Popen[bytes]:
        if self._cgroup is not None:
            command = self._cgroup.around(command)
        return subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=cwd,
            pass_fds=pass_fds, close_fds=True, bufsize=0, start_new_session=True,
        )  # fmt: skip

    def _boot(self, frame: bytes) -> None:
        try:
            view = memoryview(frame)
            while view:
                view = view[os.write(self.commands, view) :]
        except BrokenPipeError:
            return  # it has ended already; whoever reads its answers sees that, and complaint() says why

    def out_of_memory(self) -> bool:
        """Whether its control group ended it for using too much memory."""
        return self._cgroup is not None and self._cgroup.out_of_memory()

    def complaint(self) -> str:
        """What the launcher said on its standard error, for a sandbox that did not start."""
        assert self._popen.stderr is not None
        descriptor = self._popen.stderr.fileno()
        os.set_blocking(descriptor, False)
        said = b""
        while ready_within(0.2, reading=[descriptor]):
            part = os.read(descriptor, 65_536)
            if not part:
                break
            said += part
        lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def find_init(self, seconds: float) -> int | None:
        """The namespace's first process as the host numbers it; None where there is none."""
        if self._info is None or self._init is not None:
            return self._init
        said, deadline = b"", time.monotonic() + seconds
        while self._init is None and time.monotonic() < deadline:
            if not ready_within(0.1, reading=[self._info]):
                continue
            part = os.read(self._info, 4096)
            if not part:
                break
            said += part
            if match := _CHILD_PID.search(said):
                self._hold(int(match[1]))
        return self._init

    def _hold(self, pid: int) -> None:
        # A descriptor cannot come to mean another process, as a number can.
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return
        if pid in descendants(self.pid):
            self._init, self._init_descriptor = pid, descriptor
        else:
            os.close(descriptor)

    def alive(self) -> bool:
        """Whether the sandbox's outermost process still runs."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """End every process of the sandbox now; any thread may, any number of times."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            # Killing bwrap alone in its first moments leaves what it has just started running.
            self.find_init(2.0)
            if self._init_descriptor is not None:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(self._init_descriptor, signal.SIGKILL)
                os.close(self._init_descriptor)
                self._init_descriptor = None
            if self.variant.level != "bubblewrap":
                if self._popen.returncode is None:
                    self._kill_groups()
                self._kill_orphans()
            self._popen.kill()
            if self._cgroup is not None:
                self._cgroup.kill()
            if self._info is not None:
                os.close(self._info)
                self._info = None

    def _kill_groups(self) -> None:
        # The filter forbids leaving the process group, so the groups hold every process there is.
        own = os.getpgid(0)
        for pid in reversed(descendants(self.pid)):
            try:
                group = os.getpgid(pid)
                if group != own:
                    os.killpg(group, signal.SIGKILL)
            except OSError:
                continue

    def started(self) -> None:
        """Note the kernel's process group, for when the gateway is gone and nobody else knows it."""
        if self.variant.level == "landlock":
            for pid in descendants(self.pid)[1:]:
                with contextlib.suppress(OSError):
                    self._kernel_group = os.getpgid(pid)

    def _kill_orphans(self) -> None:
        # A group's number can be another's by now, so only filtered processes of its own session are meant.
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._kernel_group else ():
            with contextlib.suppress(OSError):
                if (
                    os.getsid(pid) == self._kernel_group
                    and b"Seccomp:\t2" in Path(f"/proc/{pid}/status").read_bytes()
                ):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill, wait, and free the descriptors and the scratch directory."""
        self.kill()
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(5)
        if self._cgroup is not None:
            self._cgroup.remove()
        if self.places.scratch is not None:
            remove(self.places.scratch)


def remove(directory: str, seconds: float = 5.0) -> None:
    """Remove a directory into which processes that are just being killed may still write a last file."""
    end = time.monotonic() + seconds
    while os.path.lexists(directory) and time.monotonic() < end:
        with contextlib.suppress(OSError):
            remove_tree(directory)


def sweep_scratch() -> None:
    """Remove scratch directories whose owner was killed together with its sandbox."""
    for path in Path(tempfile.gettempdir()).glob(_SCRATCH + "*"):
        try:
            status = path.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _SCRATCH_AGE_S:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(str(path))
        except OSError:
            pass  # in use
        finally:
            os.close(descriptor)
