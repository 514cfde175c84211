"""What rows of a batch have done to the world: no call that must happen once happens again when a row runs anew.

A row that was in flight when its process, or its machine, was lost begins anew. Before a call whose effect is
``once`` starts, its intent is on the disk; after it, its result is. When the row comes to that call again, it is
given that result; a call that had begun and not ended stops the row, because nobody knows whether it happened.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arriero.tools import ApprovalRequired, Tool, ToolContext, ToolResult

from ..cancellation import CancellationToken
from .errors import TaskError
from .lines import LineFile
from .outcomes import Outcome

FILE = "effects.jsonl"
Unknown = Literal["stop", "again", "skip"]
"""What becomes of a call of which nobody knows whether it happened: ``stop`` ends the row, ``again`` runs it,
``skip`` tells the model that nobody knows."""

_SKIPPED = (
    "Error: it is not known whether {name} took effect: the program ended while the call ran. "
    "Do not assume that it did, nor that it did not."
)


class EffectError(TaskError):
    """A call must not run: it may have happened already, or another worker has the row now."""


class Effect(BaseModel):
    """The ``number``-th call of a row that must happen once; ``outcome`` is None until it has ended."""

    model_config = ConfigDict(extra="ignore")

    row: str
    number: int
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    outcome: Outcome | None = None

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.arguments.items())})"


class Ledger(Protocol):
    """Where effects are kept: a file, or whoever holds that file on another machine."""

    async def lease(self, row: str) -> int:
        """Give a row to a worker: whoever had it before can begin no more calls."""
        ...

    async def begin(self, lease: int, call: Effect) -> Outcome | None:
        """The call's result if it has happened before; None: it may run now. Raises EffectError."""
        ...

    async def end(self, call: Effect) -> None:
        """The call has ended with its outcome."""
        ...


class Effects:
    """The ledger in a folder; ``rows`` are those that may run, the effects of others are not looked at."""

    def __init__(self, folder: Path, rows: Collection[str], unknown: Unknown = "stop") -> None:
        self._file = LineFile(folder / FILE)
        self._unknown = unknown
        self._done: dict[str, dict[int, Effect]] = defaultdict(dict)
        self._leases: dict[str, int] = defaultdict(int)
        self._file.mend()
        for _, line in self._file.lines():
            try:
                effect = Effect.model_validate_json(line)
            except ValidationError:
                raise TaskError(
                    f"{self._file.path} is damaged, and says what has happened already; take another --out"
                ) from None
            if effect.row in rows:
                self._done[effect.row][effect.number] = effect

    async def lease(self, row: str) -> int:
        self._leases[row] += 1
        return self._leases[row]

    async def begin(self, lease: int, call: Effect) -> Outcome | None:
        if lease != self._leases[call.row]:
            raise EffectError(f"{call} was not run: the row was given to another worker")
        before = self._done[call.row].get(call.number)
        if before is None or (before.outcome is not None and before.outcome.kind == "nothing"):
            self._write(call)
            return None
        if (before.name, before.arguments) != (call.name, call.arguments):
            raise EffectError(
                f"{call} was not run: an earlier run of this row has called {before}, and this one goes another way"
            )
        if before.outcome is not None:
            return before.outcome
        if self._unknown == "stop":
            raise EffectError(
                f"{call} was running when its process was lost, and may have taken effect: decide with "
                "--resume --retry-errors --unknown again (run it again) or skip (tell the model so)"
            )
        if self._unknown == "again":
            return None
        return Outcome(content=_SKIPPED.format(name=call.name), error=True)

    async def end(self, call: Effect) -> None:
        self._write(call)

    def _write(self, effect: Effect) -> None:
        self._file.append(effect.model_dump_json().encode("utf-8", "backslashreplace"))
        self._done[effect.row][effect.number] = effect


class RowEffects:
    """The effects of one run of a row; ``fault`` says why the row was stopped, where it was."""

    def __init__(self, ledger: Ledger, row: str, lease: int, cancel: CancellationToken) -> None:
        self.fault: str | None = None
        self._ledger, self._row, self._lease, self._cancel = ledger, row, lease, cancel
        self._count = 0

    def around(self, tools: Mapping[str, Tool]) -> dict[str, Tool]:
        """The tools, with those whose calls must happen once asking the ledger first."""
        return {name: _Once(tool, self) if outlasts(tool) else tool for name, tool in tools.items()}

    async def run(self, tool: Tool, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        self._count += 1
        call = Effect(row=self._row, number=self._count, name=tool.name, arguments=arguments)
        try:
            earlier = await self._ledger.begin(self._lease, call)
        except Exception as error:
            self.fault = str(error)
            self._cancel.cancel()
            raise
        if earlier is not None:
            return earlier.again()
        try:
            result = await tool.run(arguments, context)
        except Exception as error:
            self._count -= isinstance(error, ApprovalRequired)
            await self._ledger.end(call.model_copy(update={"outcome": Outcome.raised(error)}))
            raise
        await self._ledger.end(call.model_copy(update={"outcome": Outcome.of(result)}))
        return result


class _Once(Tool):
    def __init__(self, tool: Tool, effects: RowEffects) -> None:
        self.spec, self.timeout, self.when_late = tool.spec, tool.timeout, tool.when_late
        self._tool, self._effects = tool, effects

    def needs_approval(self, arguments: dict[str, Any]) -> bool:
        return self._tool.needs_approval(arguments)

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        return await self._effects.run(self._tool, arguments, context)


def outlasts(tool: Tool) -> bool:
    """Whether what a call does stays when its row's process ends: not where it only touches its own sandbox."""
    return tool.effect == "once" and not getattr(tool, "contained", False)
