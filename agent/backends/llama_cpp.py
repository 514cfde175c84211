"""A GGUF model in this process."""

import asyncio
import os
import random
import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from arriero.prompts import Segment

from .base import Constraint, ModelError, Progress, Sampling, Token
from .devices import Placement
from .dialect import dialect_of
from .engine import Engine
from .generation import EngineStats, Written
from .gguf import GGUFInfo
from .grammar import Grammars, Guide, available
from .mailbox import Mailbox
from .settings import PARKED_BYTES, CacheType, EngineSettings, Numa
from .threads import usable_cpus
from .vocab import TextDecoder

DEFAULT_CONTEXT = 32_768  # tokens; memory is taken only as conversations grow


class LlamaCppModel:
    """A GGUF model run by llama.cpp on a thread of this process.

    ``n_ctx`` bounds a conversation in tokens: by default what the model was trained for, at most 32,768.
    ``n_threads`` defaults to the cores that this process may use. ``n_gpu_layers`` defaults to as many as fit
    into free GPU memory, if llama.cpp was built for GPUs, with ``gpu_reserved`` bytes left for a second model;
    -1 is all. ``n_parallel`` conversations generate at once; more wait, and idle ones are remembered outside of
    the context (``parked_bytes``, ``parked_folder``). ``cache_type``, ``flash_attention``, ``deterministic``,
    ``speculate`` and ``numa`` are those of EngineSettings. ``seed`` makes requests without a seed of their own
    repeatable.

    The constructor returns when the model is loaded; ``on_progress`` is told fractions meanwhile, on another
    thread. Raises ModelError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        n_gpu_layers: int | None = None,
        n_parallel: int = 1,
        gpu_reserved: int = 0,
        parked_bytes: int = PARKED_BYTES,
        parked_folder: Path | None = None,
        numa: Numa | None = None,
        cache_type: CacheType = "f16",
        flash_attention: bool | None = None,
        deterministic: bool = False,
        speculate: bool | None = None,
        seed: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        _check_settings(n_ctx, n_threads, n_parallel)
        self.info = GGUFInfo.read(path)
        self.info.require_chat_model()
        self._seeds = None if seed is None else random.Random(seed)  # noqa: S311
        self.engine = Engine(
            self.info,
            EngineSettings(
                length=n_ctx or min(self.info.context_length, DEFAULT_CONTEXT),
                sequences=n_parallel,
                threads=n_threads or usable_cpus(),
                gpu_layers=n_gpu_layers,
                gpu_reserved=gpu_reserved,
                parked_bytes=parked_bytes,
                parked_folder=parked_folder,
                numa=numa,
                cache_type=cache_type,
                flash_attention=flash_attention,
                deterministic=deterministic,
                speculate=speculate,
            ),
            on_progress=on_progress,
        )
        self._grammars = Grammars(self.engine.vocab)
        weakref.finalize(self, self.engine.stop).atexit = False

    @property
    def name(self) -> str:
        """The model's own name, else the file's."""
        return self.info.name

    @property
    def dialect(self) -> str:
        """The wire form to use by default: what ``dialect_of`` reads from the file."""
        return dialect_of(self.info).name

    @property
    def context_length(self) -> int:
        """Tokens that one conversation may have."""
        return self.engine.length

    @property
    def constrains(self) -> bool:
        """Whether constraints are held to while sampling: where llguidance is installed."""
        return available()

    @property
    def threads(self) -> int:
        """Processor threads that compute."""
        return self.engine.settings.threads

    @property
    def placement(self) -> Placement:
        """How many layers went to GPUs, and why that many."""
        return self.engine.placement

    @property
    def stats(self) -> EngineStats:
        """What the engine has counted so far, as a copy."""
        return replace(self.engine.stats)

    def progress(self) -> Progress | None:
        """How far it is with all that it generates, from any thread; None while that is nothing.

        On a processor, prompts are read in smaller pieces for two seconds after each question, in the same time.
        """
        return self.engine.progress()

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """Token ids of rendered segments; text that is not special yields no control token.

        Raises ModelError for a special segment that the vocabulary lacks, and after ``aclose``.
        """
        return self.engine.vocab.encode_segments(segments)

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        """Sampled continuation of ``tokens``, up to and including a stop token.

        It ends without one after ``max_tokens`` tokens or when the context is full. Closing the iterator, or
        cancelling the task, stops the work within milliseconds. The first ``constraint`` of a model takes up to a
        second to be made ready, on another thread. Raises ContextOverflow and ModelError.
        """
        if max_tokens is not None and max_tokens < 1:
            return
        guide = await self._guide(constraint) if constraint and self.constrains else None
        mailbox: Mailbox[Written] = Mailbox()
        generation = self.engine.submit(
            tokens, self._seeded(sampling), mailbox.put, max_tokens=max_tokens, guide=guide
        )
        text = TextDecoder(self.engine.vocab)
        try:
            while isinstance(item := await mailbox.get(), Written):
                added = text.feed(item.id, last=item.last)
                yield Token(item.id, added, item.stop, item.logprob, item.top)
                if item.stop:
                    return
        finally:
            self.engine.cancel(generation)
        if item is not None:
            raise item

    async def prefill(self, tokens: Sequence[int]) -> None:
        """Read ``tokens`` ahead and sample nothing: a ``generate`` that begins with them need not read them again.

        Cancelling the task stops the work. Raises ContextOverflow and ModelError.
        """
        mailbox: Mailbox[Written] = Mailbox()
        generation = self.engine.submit(tokens, Sampling(temperature=0), mailbox.put, max_tokens=0)
        try:
            item = await mailbox.get()
        finally:
            self.engine.cancel(generation)
        if isinstance(item, ModelError):
            raise item

    async def aclose(self) -> None:
        """Stop all generation and free the model; safe to call twice."""
        self.engine.stop()
        await asyncio.to_thread(self.engine.close)

    async def _guide(self, constraint: Constraint) -> Guide:
        ready = self._grammars.find(constraint)
        if ready is None:
            ready = await asyncio.to_thread(self._grammars.compile, constraint)
        return Guide(ready)

    def _seeded(self, sampling: Sampling) -> Sampling:
        if sampling.seed is not None or self._seeds is None:
            return sampling
        return replace(sampling, seed=self._seeds.randrange(2**31))


def _check_settings(n_ctx: int | None, n_threads: int | None, n_parallel: int) -> None:
    bounds = (("n_ctx", n_ctx, 2**24), ("n_threads", n_threads, 512), ("n_parallel", n_parallel, 64))
    for name, value, most in bounds:
        if value is not None and value < 1:
            raise ModelError(f"{name} must be at least 1, not {value}")
        if value is not None and value > most:
            raise ModelError(f"{name} can be at most {most}, not {value}")
