"""The screens of a policy at work: asked concurrently, each within its time, none of them trusted to answer well."""

import asyncio
import inspect
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeGuard

from .base import ACTIONS, PLACES, Action, Check, Place, Screen, ScreenError, ScreenInput, Verdict
from .policy import Policy, Rule
from .registry import FACTORIES, factory
from .threads import in_daemon

LOAD_TIMEOUT: Final = 300.0  # seconds for making a screen: weights are read from disk
_LONGEST_REASON: Final = 2_000  # characters; a screen that says more has not answered the question
_MOST_WORDS: Final = 200  # labels and categories of one verdict


class Checked(NamedTuple):
    """What one screen answered and what the policy makes of it; ``failed`` says that it did not judge."""

    place: Place
    screen: str
    action: Action
    verdict: Verdict
    seconds: float
    failed: bool = False
    threshold: float | None = None


class Outcome(NamedTuple):
    """What all screens of a place make of a text.

    ``action`` is the strictest, and ``reason`` says why, for people; ``screen`` is who said so. ``text`` is the text
    that may pass, perhaps once somebody was asked: the given one, or what takes its place where it was ``replaced``.
    ``hold`` is the most that a screen wants held back of an unfinished answer. ``failed`` says that a screen could
    not judge and that the policy stops there.
    """

    action: Action
    text: str
    checks: tuple[Checked, ...] = ()
    screen: str = ""
    reason: str = ""
    hold: int = 0
    failed: bool = False
    replaced: bool = False


Rules = Mapping[str, Rule]


@dataclass(slots=True)
class _Made:
    """A screen that is made once; ``lock`` is held by whoever makes it."""

    screen: Screen | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class CallableScreen:
    """A function as a screen: awaited if it is ``async``, else called in a thread of its own."""

    def __init__(self, name: str, function: Check) -> None:
        self._name = name
        self._function = function

    @property
    def name(self) -> str:
        return self._name

    async def check(self, given: ScreenInput) -> Verdict:
        """What the function says."""
        function: Any = self._function
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
            answer = function(given)
        else:
            answer = await in_daemon(lambda: function(given), name=f"screen-{self._name}")
        verdict: Verdict = await answer if inspect.isawaitable(answer) else answer
        return verdict


class Pipeline:
    """Asks the screens of a policy; it may be used by many runs at once, on any event loop.

    Screens that the policy names are made when they are first needed. ``aclose`` frees those and no others: objects
    that the policy brought are their maker's.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.places = frozenset(place for place in PLACES if policy.rules(place))
        """Where anything is screened."""
        self._given = {name: as_screen(name, screen) for name, screen in policy.screens.items()}
        self._made = {name: _Made() for name in FACTORIES}
        self._ready: set[tuple[str, Place]] = set()
        self._parted: dict[Place, tuple[Rules, Rules]] = {}

    def instant(self, place: Place) -> bool:
        """Whether all screens of a place answer at once."""
        return not self.parted(place)[1]

    def parted(self, place: Place) -> tuple[Rules, Rules]:
        """The rules of the screens that answer at once, and those of the others.

        A screen that is not made yet is one of the others, and stays one: each is asked as one or the other.
        """
        if place not in self._parted:
            rules = self.policy.rules(place)
            quick = [name for name in rules if self._answers_at_once(name)]
            self._parted[place] = (
                {name: rules[name] for name in quick},
                {name: rule for name, rule in rules.items() if name not in quick},
            )
        return self._parted[place]

    def _answers_at_once(self, name: str) -> bool:
        screen = self._given.get(name) or self._built_in(name)
        return bool(getattr(screen, "instant", False))

    async def check(self, given: ScreenInput, *, slow_only: bool = False) -> Outcome:
        """Ask every screen of the place and wait for all; never raises but when it is cancelled.

        Those that answer at once come first: what they replace, the others read as it may pass, and what they
        block, nobody else has to read. ``slow_only`` leaves them out (see ``check_at_once``).
        """
        first = Outcome("allow", given.text) if slow_only else await self.check_at_once(given)
        slow = self.parted(given.place)[1]
        if not slow or first.action == "block":
            return first
        seen = given._replace(text=first.text) if first.replaced else given
        return joined(given, first, combined(seen, await self._ask_all(seen, slow)))

    async def check_at_once(self, given: ScreenInput) -> Outcome:
        """Ask the screens of the place that answer at once."""
        quick = self.parted(given.place)[0].items()
        return combined(given, [await self._ask_at_once(name, rule, given) for name, rule in quick])

    async def aclose(self) -> None:
        """Free the screens that were made here; it is safe to call twice."""
        for made in self._made.values():
            screen, made.screen = made.screen, None
            close = getattr(screen, "aclose", None)
            if close is not None:
                await close()

    async def _ask_all(self, given: ScreenInput, rules: Rules) -> list[Checked]:
        tasks = [asyncio.create_task(self._ask(name, rule, given)) for name, rule in rules.items()]
        try:
            return [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()

    async def _ask_at_once(self, name: str, rule: Rule, given: ScreenInput) -> Checked:
        started = time.monotonic()
        try:
            screen = self._given.get(name) or self._built_in(name)
            assert screen is not None
            return _judged(name, rule, given, await screen.check(given), time.monotonic() - started)
        except asyncio.CancelledError:
            if _cancelling():
                raise
            return _failed(name, rule, given, "was cancelled", time.monotonic() - started)
        except GeneratorExit:
            raise
        # A panic of Rust is no Exception, and SystemExit would end the event loop.
        except BaseException as error:
            return _failed(name, rule, given, _words(error), time.monotonic() - started)

    async def _ask(self, name: str, rule: Rule, given: ScreenInput) -> Checked:
        """Ask a screen in a task that is left alone when its time is up: it may not listen to being cancelled."""
        started = time.monotonic()
        task: asyncio.Task[Any] | None = None
        try:
            screen = await self.screen(name)
            started = time.monotonic()
            task = asyncio.create_task(_contained(screen, given))
            ready = (name, given.place) in self._ready or not hasattr(screen, "prepare")
            timeout = rule.timeout if ready else max(rule.timeout, LOAD_TIMEOUT)
            done, _ = await asyncio.wait({task}, timeout=timeout)
            if not done:
                words = f"did not answer within {timeout:g} seconds (its timeout in the policy)"
                return _failed(name, rule, given, words, time.monotonic() - started)
            self._ready.add((name, given.place))
            return _judged(name, rule, given, task.result(), time.monotonic() - started)
        except asyncio.CancelledError:
            if _cancelling():
                raise
            return _failed(name, rule, given, "was cancelled", time.monotonic() - started)
        except GeneratorExit:
            raise
        # A panic of Rust is no Exception, and SystemExit would end the event loop.
        except BaseException as error:
            return _failed(name, rule, given, _words(error), time.monotonic() - started)
        finally:
            if task is not None and not task.done():
                task.add_done_callback(_forget)
                task.cancel()

    async def screen(self, name: str) -> Screen:
        """The screen of that name, made if need be. Raises ScreenError, or whatever it takes to make it."""
        given = self._given.get(name)
        if given is not None:
            return given
        made = self._made.get(name)
        if made is None:
            known = ", ".join([*FACTORIES, *self._given])
            raise ScreenError(
                f"there is no such screen; there are {known}, and those of the policy's screens"
            )
        if made.screen is None:
            async with asyncio.timeout(LOAD_TIMEOUT):
                return await in_daemon(lambda: self._make(name, made), name=f"make-{name}")
        return made.screen

    def _make(self, name: str, made: _Made) -> Screen:
        with made.lock:
            if made.screen is None:
                made.screen = factory(name)(self.policy.settings.get(name, {}), self.policy)
            return made.screen

    def _built_in(self, name: str) -> Screen | None:
        """A screen that is made already, or one of ours that costs nothing to make."""
        made = self._made.get(name)
        if made is None:
            return None
        if made.screen is None and name in AT_ONCE:
            try:
                return self._make(name, made)
            except Exception:  # told where it is asked, like every other fault
                return None
        return made.screen


AT_ONCE: Final = ("patterns", "provenance")
"""Screens that need no weights: making them takes no time either."""


def as_screen(name: str, given: Screen | Check) -> Screen:
    """A screen object as it is, a function as a screen. Raises TypeError for anything else."""
    if isinstance(given, Screen):
        return given
    if callable(given):
        return CallableScreen(name, given)
    raise TypeError(f"the screen {name!r} is neither a Screen nor a function, but {type(given).__name__}")


def combined(given: ScreenInput, checks: list[Checked]) -> Outcome:
    """The strictest of all answers. Replacements of several screens cannot be joined: the texts then are blocked.

    Where somebody has to be asked, what passes if they agree is the replacement: they decide on what one screen
    objects to, not on what another takes out.
    """
    hold = max([check.verdict.hold for check in checks], default=0)
    if all(check.action == "allow" for check in checks):
        return Outcome("allow", given.text, tuple(checks), hold=hold)
    worst = max(checks, key=lambda check: (ACTIONS.index(check.action), check.failed))
    action = worst.action
    reason = worst.verdict.reason
    if action == "ask":  # whoever decides has to know all that is against it
        reasons = (check.verdict.reason for check in checks if check.action == "ask")
        reason = "; ".join(dict.fromkeys(filter(None, reasons)))
    text = None
    wanted = {check.verdict.replacement for check in checks if check.action == "replace"}
    if wanted and action in ("ask", "replace"):
        text = wanted.pop()
        if wanted or text is None:
            text, action, reason = None, "block", f"{reason} (no single replacement was given)".strip()
    replaced = text is not None
    passes = given.text if text is None else text
    return Outcome(action, passes, tuple(checks), worst.screen, reason, hold, worst.failed, replaced)


def joined(given: ScreenInput, first: Outcome, then: Outcome) -> Outcome:
    """One outcome of two: of the screens that answer at once, and of those that have read what these let pass."""
    worst = max(first, then, key=lambda outcome: (ACTIONS.index(outcome.action), outcome.failed))
    both = first.action == then.action and worst.action in ("ask", "replace")
    passes = worst.action in ("allow", "replace", "ask")
    return worst._replace(
        text=then.text if passes else given.text,
        replaced=passes and (first.replaced or then.replaced),
        checks=(*first.checks, *then.checks),
        reason="; ".join(filter(None, (first.reason, then.reason))) if both else worst.reason,
        hold=max(first.hold, then.hold),
    )


async def _contained(screen: Screen, given: ScreenInput) -> Verdict:
    try:
        return await screen.check(given)
    except (SystemExit, KeyboardInterrupt) as error:  # would end the event loop from this task
        raise RuntimeError(_words(error)) from error


def _judged(name: str, rule: Rule, given: ScreenInput, verdict: object, seconds: float) -> Checked:
    if _says_nothing(verdict) and rule.threshold is None:
        return Checked(given.place, name, "allow", verdict, seconds)
    problem = _nonsense(verdict)
    if problem or not isinstance(verdict, Verdict):
        return _failed(name, rule, given, problem or "", seconds)
    threshold = rule.threshold if rule.threshold is not None else verdict.threshold
    if rule.threshold is not None and verdict.score is None:
        return _failed(name, rule, given, "gave no score to compare with the policy's threshold", seconds)
    return Checked(given.place, name, _action(rule, verdict), verdict, seconds, threshold=threshold)


def _says_nothing(verdict: object) -> TypeGuard[Verdict]:
    """Whether an answer lets pass without a word, as instant screens do at nearly every word."""
    return (
        type(verdict) is Verdict
        and verdict.action == "allow"
        and verdict.score is None
        and verdict.hold >= 0
        and not (verdict.scores or verdict.categories or verdict.reason)
    )


def _action(rule: Rule, verdict: Verdict) -> Action:
    """What the policy makes of a verdict: threshold, then categories, then the rule's action, then the screen's."""
    named = [rule.categories[category] for category in verdict.categories if category in rule.categories]
    found = verdict.action != "allow"
    if rule.threshold is not None and verdict.score is not None:
        found = verdict.score >= rule.threshold
        if not found:
            return "allow"
    if not found and not named:
        return "allow"
    own: Action = rule.action or (verdict.action if verdict.action != "allow" else "block")
    if found and (not named or len(named) < len(verdict.categories)):
        named.append(own)
    return max(named, key=ACTIONS.index)


def _nonsense(verdict: object) -> str | None:
    """What is wrong with an answer; None if it is a verdict."""
    if not isinstance(verdict, Verdict):
        return f"answered with {type(verdict).__name__} and not with a Verdict"
    if verdict.action not in ACTIONS:
        return f"answered with an unknown action {verdict.action!r:.80}"
    numbers = [*verdict.scores.values(), *([] if verdict.score is None else [verdict.score])]
    words = [*verdict.scores, *verdict.categories, verdict.reason]
    if not all(isinstance(word, str) for word in words):
        return "answered with labels or a reason that are no text"
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        return "answered with a score that is not a finite number"
    if len(words) > _MOST_WORDS or max(map(len, words)) > _LONGEST_REASON:
        return "gave an answer that is too long for a verdict"
    if verdict.hold < 0:
        return f"asked to hold {verdict.hold} characters"
    return None


def _failed(name: str, rule: Rule, given: ScreenInput, words: str, seconds: float) -> Checked:
    """Not passed, unless the policy says in so many words that a failure lets pass."""
    reason = f"the screen {name!r} {words}"
    action: Action = rule.on_failure
    return Checked(
        given.place, name, action, Verdict(action, reason=reason[:_LONGEST_REASON]), seconds, failed=True
    )


def _words(error: BaseException) -> str:
    if isinstance(error, ScreenError):
        return f"cannot be used: {error}"
    if isinstance(error, ImportError):
        return f"cannot be used: a package is missing: {error}"
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return f"tried to end the program: {error!r}"
    return f"failed: {type(error).__name__}: {error}"


def _cancelling() -> bool:
    """Whether it is this task that is being cancelled, and not something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _forget(task: "asyncio.Task[Any]") -> None:
    """Look at the end of a task that nobody waits for, so that it is not reported as unnoticed."""
    if not task.cancelled():
        task.exception()
