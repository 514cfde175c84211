"""A started sandbox with the thread that it lives in, and the one that waits, warm, for whoever comes next."""

import importlib.util
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from .errors import SandboxBroken
from .levels import Wanted, choose, report
from .limits import SandboxLimits
from .plan import UNSAFE
from .process import Child
from .result import Execution
from .session import Session
from .worker import Worker

log = logging.getLogger(__name__)
Result = TypeVar("Result")
PRELOAD = ("numpy", "matplotlib.pyplot")


class Held:
    """A session and the thread that it was made in and lives with; making one begins its start.

    ``last`` is its latest cell, ``furnished`` whether the files that the caller gave have been put there.
    """

    def __init__(self, limits: SandboxLimits, level: Wanted, preload: tuple[str, ...]) -> None:
        self._worker = Worker("arriero-sandbox")
        self._closed = False
        self.furnished = False
        self.last: Future[Execution] | None = None
        self.session: Session | None = None
        self.started: Future[None] = self._worker.submit(lambda: self._start(limits, level, preload))

    def _start(self, limits: SandboxLimits, level: Wanted, preload: tuple[str, ...]) -> None:
        variant = choose(level)
        if variant.level == UNSAFE:
            log.warning("%s", report(level).line)
        self.session = Session(Child(variant, limits, preload=preload, probe=False), limits)
        if self._closed:
            self.session.kill("closed")
        self.session.start()

    def submit(self, job: Callable[[Session], Result]) -> "Future[Result]":
        """Do a job in the session's thread, after those before it."""

        def run() -> Result:
            if self.session is None:
                raise SandboxBroken("the sandbox did not start")
            return job(self.session)

        return self._worker.submit(run)

    def usable(self) -> bool:
        """Whether it is starting, or has started and not ended."""
        if not self.started.done():
            return True
        return self.started.exception() is None and self.session is not None and self.session.alive()

    def close(self) -> "Future[None]":
        """End it; the future is done when nothing is left."""
        self._closed = True
        if self.session is not None:
            # Not in the worker, which may be busy with a cell; not here, where an event loop would wait.
            threading.Thread(target=self.session.kill, args=("closed",), daemon=True).start()
        done = self._worker.submit(self._free)
        self._worker.end()
        return done

    def _free(self) -> None:
        if self.session is not None:
            self.session.close()


class Warm:
    """Makes sandboxes of one kind, and has one ready before it is asked for.

    With ``keep``, ``refill`` starts the next one when the last was taken; without, only ``prestart`` does. It costs
    about 100 MB of memory while it waits. ``preload`` names modules to import in it, where they are installed.
    """

    def __init__(
        self, limits: SandboxLimits, level: Wanted = "auto", preload: tuple[str, ...] = PRELOAD, *, keep: bool
    ) -> None:
        self.limits = limits
        self._level: Wanted = level
        self._preload = tuple(
            name for name in preload if importlib.util.find_spec(name.split(".")[0]) is not None
        )
        self._keep = keep
        self._ready: Held | None = None
        self._closed = False

    def prestart(self) -> None:
        """Begin to start one, unless one is there."""
        if not self._closed and (self._ready is None or not self._ready.usable()):
            self._discard()
            self._ready = Held(self.limits, self._level, self._preload)

    def refill(self) -> None:
        """``prestart``, where the next one is to be kept ready."""
        if self._keep:
            self.prestart()

    def take(self) -> Held:
        """The one that is ready or starting, else one that only begins to start."""
        held, self._ready = self._ready, None
        if held is not None and held.usable():
            return held
        if held is not None:
            held.close()
        return Held(self.limits, self._level, self._preload)

    def close(self) -> "Future[None] | None":
        """End the one that waits, for good; the future is done when nothing is left of it."""
        self._closed = True
        return self._discard()

    def _discard(self) -> "Future[None] | None":
        held, self._ready = self._ready, None
        return held.close() if held is not None else None
