"""Who may run a call: rules over what the call looks like, or a function that decides."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Refused:
    """False with a reason, which the model is told; it is false itself."""

    reason: str

    def __bool__(self) -> bool:
        return False


Answer = bool | Refused | None
"""True runs a call, False or Refused refuses it, None leaves it undecided."""

Approve = Callable[[str, dict[str, Any]], Answer | Awaitable[Answer]]
"""Decides a call that needs approval, by the tool's name and the arguments."""

Decision = Literal["allow", "deny", "ask"]


def shown_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as rules see it: ``name(key=value, …)``, values as JSON, in the order that the model wrote them."""
    pairs = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return f"{name}({', '.join(pairs)})"


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
