"""A text on its way to whoever reads it: shown as far as the screens have let it pass, and no further."""

import asyncio
from collections.abc import Awaitable, Callable

from .base import ScreenInput
from .pipeline import Checked, Outcome, Pipeline

Ask = Callable[[Outcome], Awaitable[bool]]
"""Decides whether a text passes for which a screen wants somebody to be asked."""

_PATIENCE = 24  # characters without a space after which instant screens are asked all the same


class ScreenedText:
    """Takes a text, mostly an answer, in pieces and gives back what may be shown of it.

    Instant screens read every word; they may also change what they read. The others read the answer so far in growing
    windows (Policy.streaming) while the model goes on writing, and nothing of a window is given back before all have
    let it pass. ``stopped`` is the outcome that ended it: then nothing more is given back. ``shown`` is all that was.
    """

    def __init__(self, pipeline: Pipeline, given: ScreenInput, ask: Ask) -> None:
        self.shown = ""
        self.stopped: Outcome | None = None
        self.checks: list[Checked] = []
        self._pipeline = pipeline
        self._given = given
        self._ask = ask
        self._instant, self._slow = map(bool, pipeline.parted(given.place))
        self._written = ""
        self._passed = 0  # characters of what was written that instant screens are done with
        self._asked_at = 0
        self._clean = ""  # what they made of it
        self._judged = 0  # characters of that which the other screens have read
        self._window = pipeline.policy.streaming.first
        self._running: asyncio.Task[Outcome] | None = None
        self._reading = 0

    async def feed(self, text: str) -> str:
        """Take the next piece; what may now be shown is returned."""
        if self.stopped:
            return ""
        self._written += text
        waiting = len(self._written) - self._asked_at
        if not self._instant:
            self._clean, self._passed = self._written, len(self._written)
        elif _ends_a_word(text) or waiting >= max(_PATIENCE, (len(self._written) - self._passed) // 2):
            self._asked_at = len(self._written)
            await self._sift(final=False)
        return await self._forward()

    async def finish(self) -> str:
        """Say that the answer is whole; waits for the last verdicts and returns the rest that may be shown."""
        if not self.stopped and self._instant:
            await self._sift(final=True)
        fresh = ""
        if not self.stopped and self._running:
            await self._collect()
            fresh = self._show_judged()
        if not self.stopped and self._slow:
            self._start(final=True)
            await self._collect()
        return fresh if self.stopped else fresh + self._show(len(self._clean))

    async def cut(self) -> str:
        """Say that the answer was broken off: what only instant screens have to judge may still be shown."""
        await self.aclose()
        if self.stopped or self._slow:
            return ""
        return await self.finish()

    async def aclose(self) -> None:
        """Stop waiting for verdicts."""
        task, self._running = self._running, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=0.05)

    def take_checks(self) -> list[Checked]:
        """The verdicts since this was last called."""
        checks, self.checks = self.checks, []
        return checks

    async def _sift(self, *, final: bool) -> None:
        outcome = await self._pipeline.check_at_once(self._so_far(self._written, self._passed, final=final))
        # Every word has its verdicts; those that found nothing are told once, at the end.
        self.checks += [
            check for check in outcome.checks if final or check.action != "allow" or check.verdict.categories
        ]
        fresh = self._written[self._passed :]
        if not await self._allowed(outcome):
            return
        if outcome.replaced:
            fresh = outcome.text
        hold = 0 if final else min(outcome.hold, len(self._written) - self._passed)
        if hold and not fresh.endswith(self._written[-hold:]):
            reason = "a replacement changed text that was to be held"
            self.stopped = outcome._replace(action="block", reason=reason)
            return
        self._clean += fresh[: len(fresh) - hold]
        self._passed = len(self._written) - hold

    async def _forward(self) -> str:
        if self.stopped:
            return ""
        if not self._slow:
            return self._show(len(self._clean))
        if self._running:
            await asyncio.sleep(0)  # a model that never waits would keep the screens from being asked
            if self._running.done():
                await self._collect()
        if not self.stopped and not self._running and len(self._clean) - self._judged >= self._window:
            self._start(final=False)
            self._window = min(2 * self._window, self._pipeline.policy.streaming.window)
        if self.stopped:
            return ""
        return self._show_judged()

    def _start(self, *, final: bool) -> None:
        self._reading = len(self._clean)
        given = self._so_far(self._clean, len(self.shown), final=final)
        self._running = asyncio.create_task(self._pipeline.check(given, slow_only=True))

    def _so_far(self, text: str, passed: int, *, final: bool) -> ScreenInput:
        one = self._given  # field by field, since this is done for every word
        return ScreenInput(
            one.place, text, one.role, one.origin, one.tool, one.arguments, one.effect, one.call_id,
            one.messages, one.attachments, final, passed,
        )  # fmt: skip

    async def _collect(self) -> None:
        """Wait for the screens that read a window, and go by what they say."""
        assert self._running is not None
        outcome = await self._running
        self._running = None
        self.checks += outcome.checks
        if not await self._allowed(outcome):
            return
        if outcome.replaced:
            rest = self._clean[self._reading :]
            self._clean = self._clean[: len(self.shown)] + outcome.text
            self._reading = len(self._clean)
            self._clean += rest
        self._judged = max(len(self.shown), self._reading - outcome.hold)

    async def _allowed(self, outcome: Outcome) -> bool:
        if outcome.action in ("allow", "replace") or (outcome.action == "ask" and await self._ask(outcome)):
            return True
        self.stopped = outcome
        return False

    def _show_judged(self) -> str:
        return self._show(self._judged - self._pipeline.policy.streaming.hold)

    def _show(self, end: int) -> str:
        fresh = self._clean[len(self.shown) : max(0, end)]
        self.shown += fresh
        return fresh


def _ends_a_word(text: str) -> bool:
    """Whether there is something to read up to; scripts without spaces end words anywhere."""
    return not text.isascii() or any(map(str.isspace, text))
