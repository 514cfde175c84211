"""Who may run a call: rules over what the call looks like, or a function that decides."""

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final, Literal

from arriero.prompts import ToolCall
from arriero.tools.threads import in_thread


@dataclass(frozen=True, slots=True)
class Refused:
    """False with a reason, which the model is told; it is false itself."""

    reason: str

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Edited:
    """True with other arguments: the call runs with these, if they fit its tool and the screens let them pass.

    The model is told what they are. To a screen's question about a text it is no answer: the text does not pass.
    """

    arguments: Mapping[str, Any]

    def leaves(self, call: ToolCall) -> bool:
        """Whether they are the arguments that the call has."""
        return dict(self.arguments) == call.arguments


Decided = bool | Refused | Edited
"""What a person says of a call: True or Edited runs it, False or Refused refuses it."""

Answer = Decided | None
"""None leaves a call undecided."""

Approve = Callable[[str, dict[str, Any]], Answer | Awaitable[Answer]]
"""Decides a call that needs approval, by the tool's name and the arguments."""

Decision = Literal["allow", "deny", "ask"]

_MOST_NOTED: Final = 20_000  # characters of a call that the model is told


def shown_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as rules see it: ``name(key=value, …)``, values as JSON, in the order that the model wrote them."""
    pairs = (
        f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in arguments.items()
    )
    return f"{name}({', '.join(pairs)})"


def edit_note(call: ToolCall) -> str:
    """What stands before the result of a call whose arguments a person has changed, so that the model knows.

    Of a call of more than 20,000 characters it tells head and tail.
    """
    shown = shown_call(call.name, call.arguments)
    if left := max(0, len(shown) - _MOST_NOTED):
        half = _MOST_NOTED // 2
        shown = f"{shown[:half]}[… {left} characters left out …]{shown[-half:]}"
    return f"Note: the user changed the arguments of this call to {shown}.\n\n"


class ApprovalRules:
    """Decides calls by shell patterns over ``name(key=value, …)``; the first that fits counts.

    ``ApprovalRules({"read_file(*)": "allow", "pay(sum=[0-9])": "allow", "*": "ask"}, ask=approve)``. ``allow``
    runs the call even where its tool asks for approval, ``deny`` refuses it even where it does not, ``ask``
    leaves it to ``ask``, and to nobody without that. A call that no pattern fits is treated as if there were no
    rules. ``*`` fits anything, commas and quotes too: a pattern with ``*`` inside its arguments also fits calls
    with more arguments. Raises ValueError for a decision that is none of the three.
    """

    def __init__(self, rules: Mapping[str, Decision], *, ask: Approve | None = None) -> None:
        for pattern, decision in rules.items():
            if decision not in ("allow", "deny", "ask"):
                raise ValueError(f"the rule {pattern!r} should say allow, deny or ask, not {decision!r}")
        self.rules = dict(rules)
        self.ask = ask

    def decide(self, name: str, arguments: Mapping[str, Any]) -> Decision | None:
        """What the rules say; None where no pattern fits."""
        shown = shown_call(name, arguments)
        return next(
            (said for pattern, said in self.rules.items() if fnmatchcase(shown, _whole(pattern))), None
        )

    def __call__(self, name: str, arguments: dict[str, Any]) -> Answer | Awaitable[Answer]:
        decision = self.decide(name, arguments)
        if decision in ("allow", "deny"):
            return decision == "allow"
        return self.ask(name, arguments) if self.ask is not None else None


def _whole(pattern: str) -> str:
    return pattern if "(" in pattern or pattern == "*" else f"{pattern}(*"


@dataclass(frozen=True, slots=True)
class Objection:
    """What a screen has against a text, for a person to decide.

    It is asked as ``screen:PLACE`` with ``screen``, ``reason`` and ``text``, for a call also with ``tool`` and
    ``arguments``. Neither rules about calls nor the approval of a call answer it.
    """

    place: str
    screen: str
    reason: str
    text: str
    call: ToolCall | None = None

    async def put_to(self, approve: Approve | None) -> Answer:
        """What the person says; None where nobody can be asked."""
        while isinstance(approve, ApprovalRules):
            approve = approve.ask
        if approve is None:
            return None
        subject: dict[str, Any] = {"screen": self.screen, "reason": self.reason, "text": self.text}
        if self.call is not None:
            subject |= {"tool": self.call.name, "arguments": dict(self.call.arguments)}
        answer = await answer_of(approve, f"screen:{self.place}", subject)
        if isinstance(answer, Edited) and (self.call is None or answer.leaves(self.call)):
            return False  # what was objected to would pass as it is
        return answer


async def answer_of(approve: Approve, name: str, arguments: dict[str, Any]) -> Answer:
    """What ``approve`` says, whether or not it is ``async``; it raises what that raises."""
    # The user's function may ask a person and block meanwhile; the loop must not.
    answer = await in_thread(partial(approve, name, arguments), name="approve")
    return await answer if inspect.isawaitable(answer) else answer
