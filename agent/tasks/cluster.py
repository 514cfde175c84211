"""The rows of a batch on a Ray cluster: a process on each machine, with a model of its own or a server's.

Needs the extra ``ray``, the same arriero on every machine, and to run on one of them.
"""

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..backends import Sampling
from ..cancellation import CancellationToken
from .batch import BatchResult, Plan, carry_out, own_version
from .dispatching import Description, Dispatcher, MachineLost
from .effects import Effect, EffectError, Effects, Unknown
from .errors import TaskError
from .outcomes import Outcome
from .rows import Row
from .task import Task, TypedInputs
from .working import Work, Worked, Workplace, identity_of, work_on

Open = Callable[[], Workplace]
MOST = 512  # rows that are given out at a time, on however many machines


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which cluster, and what a machine gives to a batch. ``address`` is as ``ray.init`` takes it; by default the
    one that RAY_ADDRESS or this machine names. ``cpus`` and ``gpus`` are what Ray sets aside on each machine;
    without ``gpus`` a process sees none.
    """

    address: str = "auto"
    jobs: int = 1
    cpus: float = 1
    gpus: float = 0
    patience: float = 60.0


async def run_on_ray(
    task: Task,
    plan: Plan,
    place: Open,
    cluster: Cluster = Cluster(),
    *,
    sampling: Sampling | None = None,
    cancel: CancellationToken | None = None,
    on_notice: Callable[[str], None] = lambda line: None,
) -> BatchResult:
    """Run the task for every row of a plan, ``cluster.jobs`` at a time on each machine; as ``run_batch`` otherwise.

    ``place`` is called on every machine and opens the model and tools there. Rows of a machine that is lost are
    done again by another, without repeating calls whose effect is ``once``. Results, reports and the ledger of
    effects are written here. Raises TaskError.
    """
    token = CancellationToken(cancel)
    work = Work(task, sampling or task.sampling())
    try:
        with _connected(cluster.address) as ray:
            fleet = _Fleet(ray, work, place, cluster)
            dispatcher = Dispatcher(
                task, fleet, cluster.jobs, token, patience=cluster.patience, on_notice=on_notice
            )
            async with dispatcher.running():
                return await carry_out(work, plan, _Workers(dispatcher, fleet), token)
    finally:
        token.detach()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        import ray
    except ImportError:
        raise TaskError("the engine ray needs the package ray: pip install 'arriero[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        where = "on this machine" if address == "auto" else f"at {address}"
        raise TaskError(
            f"there is no Ray cluster {where}; start one with: ray start --head, or name one with --ray-address"
        ) from None
    except (RuntimeError, ValueError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise TaskError(f"the Ray cluster at {address} cannot be used: {said}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


class _Workers:
    """The fleet, as a batch sees it."""

    most = MOST

    def __init__(self, dispatcher: Dispatcher, fleet: "_Fleet") -> None:
        self._dispatcher, self._fleet = dispatcher, fleet
        self._lease: Callable[[str], Awaitable[int]]

    async def identity(self) -> tuple[str, str]:
        described = await self._dispatcher.description()
        return described.model, described.identity

    def begin(self, folder: Path, rows: Collection[str], unknown: Unknown) -> None:
        self._lease = self._fleet.keep_effects(folder, rows, unknown).lease

    async def run(self, row: Row) -> Worked:
        return await self._dispatcher.run(row, self._lease)


class _Fleet:
    """The machines of a Ray cluster, by the ids of its nodes."""

    def __init__(self, ray: Any, work: Work, place: Open, cluster: Cluster) -> None:
        self._ray, self._cluster = ray, cluster
        self._parcel = ray.put((work, work.task.functions(), place))
        self._keeper: Any = None

    async def names(self) -> Collection[str]:
        nodes = await asyncio.to_thread(self._ray.nodes)
        return [
            node["NodeID"]
            for node in nodes
            if node["Alive"] and node["Resources"].get("CPU", 0) >= self._cluster.cpus
        ]

    def machine(self, name: str) -> "_Machine":
        options = self._on(name, num_cpus=self._cluster.cpus, num_gpus=self._cluster.gpus)
        # One call more than rows: it may be asked to open while it works.
        actor = self._ray.remote(_Site).options(**options, max_concurrency=self._cluster.jobs + 1)
        return _Machine(self._ray, actor.remote(self._parcel), lambda: self._keeper)

    def keep_effects(self, folder: Path, rows: Collection[str], unknown: Unknown) -> "_Ledger":
        """Keep the ledger in a process on this machine, where the folder is."""
        here = self._on(self._ray.get_runtime_context().get_node_id(), num_cpus=0)
        keeper = self._ray.remote(_Keeper).options(**here, max_concurrency=1000)
        self._keeper = keeper.remote(folder.absolute(), frozenset(rows), unknown)
        return _Ledger(self._keeper)

    def _on(self, node: str, **options: Any) -> dict[str, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False), **options}


class _Machine:
    def __init__(self, ray: Any, actor: Any, keeper: Callable[[], Any]) -> None:
        self._ray, self._actor, self._keeper = ray, actor, keeper

    async def open(self) -> Description:
        return await _told(self._actor.open.remote())  # type: ignore[no-any-return]

    async def run(self, row: Row, inputs: TypedInputs, lease: int) -> Worked:
        return await _told(self._actor.run.remote(row, inputs, lease, self._keeper()))  # type: ignore[no-any-return]

    def kill(self) -> None:
        self._ray.kill(self._actor)


async def _told(reference: Any) -> Any:
    """What another process answers. Raises MachineLost, and what that process has raised."""
    from ray.exceptions import RayError, RayTaskError

    try:
        return await reference
    except RayTaskError as error:
        raise TaskError(str(error.cause)) from None
    except RayError as error:
        raise MachineLost(str(error).splitlines()[0]) from None


class _Site:
    """Runs on each machine: opens the place once, and works on rows there."""

    def __init__(self, parcel: tuple[Work, dict[str, bytes], Open]) -> None:
        work, functions, self._open = parcel
        self._folder = tempfile.TemporaryDirectory(prefix="arriero-")
        folder = Path(self._folder.name)
        for name, source in functions.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(source)
        self._work = Work(work.task.moved(folder), work.sampling)
        self._place: Workplace

    async def open(self) -> Description:
        self._place = await asyncio.to_thread(self._open)
        model = self._place.model
        return Description(model.name, identity_of(model), own_version())

    async def run(self, row: Row, inputs: TypedInputs, lease: int, keeper: Any) -> Worked:
        given = Row(row.number, row.label, inputs, row.key)
        return await work_on(given, self._work, self._place, _Ledger(keeper), lease, CancellationToken())


class _Keeper:
    """Runs where the batch was started, and writes down what its rows do to the world."""

    def __init__(self, folder: Path, rows: Collection[str], unknown: Unknown) -> None:
        self._open = partial(Effects, folder, rows, unknown)
        self._effects: Effects | None = None

    async def ask(self, what: str, *arguments: Any) -> Any:
        # Opened at the first question, so that what is wrong with the file is an answer to it.
        self._effects = self._effects or self._open()
        return await getattr(self._effects, what)(*arguments)


class _Ledger:
    """The keeper's ledger, from anywhere."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    async def lease(self, row: str) -> int:
        return await _told(self._keeper.ask.remote("lease", row))  # type: ignore[no-any-return]

    async def begin(self, lease: int, call: Effect) -> Outcome | None:
        try:
            return await _told(self._keeper.ask.remote("begin", lease, call))  # type: ignore[no-any-return]
        except MachineLost as error:
            raise EffectError(
                f"{call} was not run: whoever keeps the effects is out of reach: {error}"
            ) from None

    async def end(self, call: Effect) -> None:
        await _told(self._keeper.ask.remote("end", call))
