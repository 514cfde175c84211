"""A started sandbox with the thread that it lives in, and the one that waits, warm, for whoever comes next."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from .errors import SandboxBroken
from .interpreter import Named
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


@dataclass(frozen=True, slots=True)
class Kind:
    """What every sandbox of a kind has in common.

    ``python`` names the interpreter, as ``interpreter.find`` takes it; ``preload`` are modules to import before the
    first cell, where they are installed.
    """

    limits: SandboxLimits = field(default_factory=SandboxLimits)
    level: Wanted = "auto"
    python: Named = None
    preload: tuple[str, ...] = PRELOAD


class Held:
    """A session and the thread that it was made in and lives with; making one begins its start.

    ``last`` is its latest cell, ``furnished`` whether the files that the caller gave have been put there.
    """

    def __init__(self, kind: Kind) -> None:
        self._worker = Worker("arriero-sandbox")
        self._closed = False
        self.furnished = False
        self.last: Future[Execution] | None = None
        self.session: Session | None = None
        self.started: Future[None] = self._worker.submit(lambda: self._start(kind))

    def _start(self, kind: Kind) -> None:
        variant = choose(kind.level, kind.python)
        if variant.level == UNSAFE:
            log.warning("%s", report(kind.level).line)
        self.session = Session(Child(variant, kind.limits, preload=kind.preload, probe=False), kind.limits)
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
    about 100 MB of memory while it waits.
    """

    def __init__(self, kind: Kind, *, keep: bool) -> None:
        self.kind = kind
        self._keep = keep
        self._ready: Held | None = None
        self._closed = False

    def prestart(self) -> None:
        """Begin to start one, unless one is there."""
        if not self._closed and (self._ready is None or not self._ready.usable()):
            self._discard()
            self._ready = Held(self.kind)

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
        return Held(self.kind)

    def close(self) -> "Future[None] | None":
        """End the one that waits, for good; the future is done when nothing is left of it."""
        self._closed = True
        return self._discard()

    def _discard(self) -> "Future[None] | None":
        held, self._ready = self._ready, None
        return held.close() if held is not None else None
