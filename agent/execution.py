"""One run of a tool: its output while it runs, its limit of time, and what came of it."""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from arriero.tools import ApprovalRequired, Tool, ToolContext, ToolError, ToolFailed, ToolResult
from arriero.tools._results import as_result, whole_text

from .cancellation import Waits
from .subagent import BUDGET, Budget

_GRACE: Final = 1.0  # seconds that a tool has to clean up when its time is over
_HASTE: Final = 0.1  # seconds that it has when the run is cancelled, which must return at once
_MOST_PIECES: Final = 10_000  # of output that wait to be shown


class Execution:
    """Runs ``tool`` once, in a task of its own, which is left to itself where it will not be cancelled.

    ``next`` gives its output as ``(stream, text)`` and None at the end; then ``result`` says what came of it. ``end``
    must be called in any case. ``context`` makes what the tool is given of where its output goes (``on_output``).
    """

    def __init__(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        context: Callable[..., ToolContext],
        waits: Waits,
        *,
        timeout: float,
        budget: Budget | None = None,
    ) -> None:
        self._tool = tool
        self._timeout = timeout
        self._budget = budget
        self._waits = waits
        self._pieces: deque[tuple[str, str]] = deque()
        self._outcome: ToolResult | BaseException | None = None
        self._late = False
        self._loop = loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._woken: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False
        work = self._run(arguments, context(on_output=self._write))
        if sys.version_info >= (3, 12):
            # A tool that waits for nothing has ended now, and nothing needs to be scheduled.
            self._work = asyncio.Task(work, loop=loop, eager_start=True)
        else:
            self._work = loop.create_task(work)

    async def next(self) -> tuple[str, str] | None:
        """The next piece of its output; None when it has ended or its time is over. Raises RunCancelled."""
        if not self._begun:
            self._begun = True
            # Enough for a tool that waits for nothing: it needs neither a timer nor to wake anybody.
            await self._waits.breathe(at_once=self._outcome is None)
        while not self._pieces:
            if self._outcome is not None or self._late:
                return None
            if self._timer is None:
                self._timer = self._loop.call_later(self._timeout, self._stop_late)
            if self._woken is None or self._woken.done():
                self._woken = self._loop.create_future()
            await self._waits.on(self._woken)
        return self._pieces.popleft()

    async def end(self) -> None:
        """Stop the tool if it still runs."""
        if self._timer is not None:
            self._timer.cancel()
        if self._outcome is None and not self._work.done():
            self._work.cancel()
            await asyncio.wait([self._work], timeout=_GRACE if self._late else _HASTE)

    def result(self) -> ToolResult:
        """What the tool answered, every fault as text for the model. Raises ApprovalRequired."""
        outcome = self._outcome
        if isinstance(outcome, ToolResult):
            return outcome
        if isinstance(outcome, ApprovalRequired):
            raise outcome
        if outcome is None:
            seconds, when_late = self._timeout, self._tool.when_late
            outcome = ToolError(
                f"{self._tool.name} did not answer within {seconds:g} seconds and {when_late}."
            )
        return told(outcome)

    async def _run(self, arguments: dict[str, Any], context: ToolContext) -> None:
        """Nothing that the tool raises is taken for an order to this program."""
        BUDGET.set(self._budget)
        try:
            result = await self._tool.run(arguments, context)
            sound = isinstance(result, ToolResult) and isinstance(result.content, str)
            self._outcome = (
                result if sound else as_result(getattr(result, "content", result), name=self._tool.name)
            )
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._outcome = error
        except KeyboardInterrupt as error:
            if threading.current_thread() is threading.main_thread():
                raise
            self._outcome = error
        except BaseException as error:
            self._outcome = error
        self._wake()

    def _stop_late(self) -> None:
        self._late = True
        self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _write(self, stream: str, text: str) -> None:
        # A tool that was given up on may still write when the loop has gone; one may write faster than is read.
        if self._loop.is_closed() or self._late or len(self._pieces) >= _MOST_PIECES:
            return
        piece = ("stderr" if stream == "stderr" else "stdout", whole_text(str(text)))
        if threading.get_ident() == self._thread:
            self._take(piece)
        else:
            self._loop.call_soon_threadsafe(self._take, piece)

    def _take(self, piece: tuple[str, str]) -> None:
        self._pieces.append(piece)
        self._wake()


def told(error: BaseException) -> ToolResult:
    """A fault in the reference's words; a run never dies of what a tool raises."""
    match error:
        case ToolFailed():
            text = f"{_said(error)} This is final: do not make this call again."
        case ToolError():
            text = _said(error)
        case _:
            text = f"{type(error).__name__}: {_said(error)}"
    return ToolResult(f"Error when running tool: {text}", error=True)


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be read)"
