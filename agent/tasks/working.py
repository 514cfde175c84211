"""One row of a batch, on whatever machine it runs."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from arriero.safety.pipeline import Pipeline
from arriero.tools import Artifact, Tool

from ..backends import Model, Sampling
from ..cancellation import CancellationToken
from ..events import ToolCallFinished
from ..journal.identity import weights_of
from .effects import Ledger, RowEffects
from .errors import TaskError
from .results import TaskEnded, TaskResult
from .rows import Row
from .task import Task


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where rows run: a model, the tools by the names that tasks have for them, who watches, and who judges."""

    model: Model
    tools: Mapping[str, Tool] = field(default_factory=dict)
    guards: Pipeline | str | None = "default"
    judge: Model | None = None


@dataclass(frozen=True, slots=True)
class Worked:
    """A row that has been worked on: its result, and what its tools produced."""

    result: TaskResult
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """What is the same for all rows of a batch."""

    task: Task
    sampling: Sampling


async def work_on(
    row: Row, work: Work, place: Workplace, ledger: Ledger, lease: int, cancel: CancellationToken
) -> Worked:
    """Run the task for a row. What is wrong with the row is its result; nothing of it is raised."""
    token = CancellationToken(cancel)
    effects = RowEffects(ledger, row.key, lease, token)
    artifacts: list[Artifact] = []
    result: TaskResult | None = None
    options: dict[str, Any] = {
        "sampling": work.sampling,
        "guards": place.guards,
        "judge": place.judge,
        "cancel": token,
    }
    try:
        stream = work.task.stream(place.model, row.inputs, tools=effects.around(place.tools), **options)
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, ToolCallFinished):
                    artifacts += [Artifact(one.name, one.mime, one.data) for one in event.artifacts]
                if isinstance(event, TaskEnded):
                    result = event.result
    except TaskError as error:
        result = TaskResult(task=work.task.name, status="error", inputs=dict(row.inputs), error=str(error))
    finally:
        token.detach()
    assert result is not None
    if effects.fault is not None:
        result = result.model_copy(update={"status": "error", "error": effects.fault})
    return Worked(result, tuple(artifacts))


def identity_of(model: Model) -> str:
    """What tells one model from another: the fingerprint of its weights, of a server its kind and address."""
    wire = getattr(model, "wire", None)
    known_by = f"{getattr(model, 'kind', type(model).__name__)} {getattr(wire, 'base', '')}".strip()
    return weights_of(model) or known_by
