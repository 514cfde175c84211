"""One thread that owns a model and generates for all conversations, several in each decode."""

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, Final

from . import llama_lib
from .base import ContextOverflow, ModelError, Progress, Sampling
from .batching import Batcher
from .context import ABORTED, BATCH, FATAL, PROCESSOR_ROWS, AbortFlag, Context
from .devices import decide
from .generation import Delivery, EngineStats, Generation
from .gguf import GGUFInfo
from .grammar.guide import Guide
from .loading import Loading
from .logprobs import MOST_LOGPROBS
from .memory import Memory
from .settings import NUMA_STRATEGIES, EngineSettings
from .speculation import rows_that_pay
from .vocab import Vocab
from .writer import Writer

_ATTENTION: Final = 2.0  # seconds after a question about progress within which another one is likely


class Engine:
    """Loads a model on a thread of its own and generates there until closed; all methods are thread-safe.

    The constructor returns when the model is loaded; ``on_progress`` is called on the engine's thread with
    fractions from 0 to 1. Raises ModelError.
    """

    def __init__(
        self,
        info: GGUFInfo,
        settings: EngineSettings,
        *,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        settings.check(info)
        self.length = settings.length
        self.stats = EngineStats()
        self._info = info
        self.settings = settings
        self._loading = Loading(on_progress)
        self._abort = AbortFlag()
        self._changed = threading.Condition()
        self._waiting: deque[Generation] = deque()
        self._running: list[Generation] = []
        self._failure: ModelError | None = None
        self._closing = False
        self._asked = float("-inf")
        self._loaded = threading.Event()
        self._lib = llama_lib.load()
        if settings.numa:
            llama_lib.set_numa(NUMA_STRATEGIES[settings.numa])
        self._model: Any = None
        self._thread = threading.Thread(target=self._run, name="arriero-engine", daemon=True)
        atexit.register(self.close)  # the library must not compute while the process tears it down
        try:
            self._thread.start()
        except RuntimeError as error:
            atexit.unregister(self.close)
            raise ModelError(f"no thread can be started for the model: {error}") from error
        self._await_load()

    def _await_load(self) -> None:
        try:
            self._loaded.wait()
        except BaseException:  # Ctrl-C while loading
            self.stop()
            raise
        if self._failure:
            self.close()
            raise self._failure

    def submit(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        deliver: Delivery,
        *,
        max_tokens: int | None = None,
        guide: Guide | None = None,
    ) -> Generation:
        """Ask for a continuation of ``tokens``, held to a constraint by ``guide``.

        ``deliver`` is called on the engine's thread with everything Written; after the last one without a stop with
        None (``max_tokens`` or the context's end reached), or with the ModelError that ended it. If it raises
        RuntimeError (a closed event loop), the generation is cancelled.

        Raises ContextOverflow and ModelError; a token that the vocabulary lacks is an error that is delivered.
        """
        prompt = list(tokens)
        if not prompt:
            raise ModelError("there are no tokens to continue")
        if len(prompt) > self.length:
            raise ContextOverflow(
                f"the prompt has {len(prompt)} tokens and the context holds {self.length}; "
                "shorten the conversation or give the model a larger context"
            )
        if sampling.logprobs is not None and not 0 <= sampling.logprobs <= MOST_LOGPROBS:
            raise ModelError(f"logprobs must be from 0 to {MOST_LOGPROBS}, not {sampling.logprobs}")
        generation = Generation(prompt, sampling, max_tokens, deliver, guide)
        with self._changed:
            if self._failure or self._closing:
                raise self._failure or ModelError("the model is closed")
            self._waiting.append(generation)
            self._changed.notify()
        return generation

    def cancel(self, generation: Generation) -> None:
        """Stop a generation soon, even inside a decode; nothing more is delivered. Safe at any time."""
        with self._changed:
            generation.cancelled = True
            if generation in self._running:
                self._abort.set()
            elif generation in self._waiting:
                self._waiting.remove(generation)

    def stop(self) -> None:
        """Ask the thread to end; returns at once."""
        with self._changed:
            self._closing = True
            self._loading.stop()
            self._abort.set()
            self._changed.notify()

    def close(self) -> None:
        """End the thread and free the model; waits until that is done. Safe to call twice."""
        self.stop()
        if self._thread is not threading.current_thread():
            self._thread.join()
        atexit.unregister(self.close)

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or running."""
        with self._changed:
            return not self._waiting and not self._running

    def progress(self) -> Progress | None:
        """How far all requests are, waiting ones too; None where there are none."""
        self._asked = time.monotonic()
        with self._changed:
            told = [generation.progress for generation in (*self._running, *self._waiting)]
        return reduce(add, told) if told else None

    # everything below runs on the engine's thread

    def _run(self) -> None:
        try:
            self._load()
            self._loaded.set()
            while self._wait_for_work():
                self._step()
        except ModelError as error:
            self._failure = error
        except Exception as error:
            llama_lib.LOGGER.exception("the engine failed")
            self._failure = ModelError(f"the engine failed: {error!r}")
        finally:
            self._free()
            self._loaded.set()

    def _load(self) -> None:
        self.placement = decide(self._lib, self._info, self.settings)
        self._model = self._loading.run(self._lib, self._info, self.placement.gpu_layers)
        self.vocab = Vocab(self._lib, self._lib.llama_model_get_vocab(self._model), self._info)
        self._memory = Memory(self._new_context, self.settings, self.stats)
        self._batcher = Batcher(self._memory, self.settings, self._rows_to_check())
        self._writer = Writer(
            self._lib,
            self.vocab,
            self._memory,
            self.stats,
            self._finish,
            length=self.length,
            guesses=self._batcher.guesses,
        )

    def _rows_to_check(self) -> int:
        """Rows of a decode in which guesses are checked; 1 for none."""
        settings = self.settings
        if not settings.most_guesses:
            return 1
        if settings.speculate:
            return settings.most_guesses + 1
        may_pay = settings.threads > 1 or self.placement.gpu_layers > 0
        return rows_that_pay(self._memory.context) if may_pay else 1

    def _new_context(self, length: int) -> Context:
        return Context(
            self._lib,
            self._model,
            self.settings,
            length=length,
            heads=self._info.heads,
            offloaded=self.placement.gpu_layers > 0,
            abort=self._abort,
        )

    def _free(self) -> None:
        with self._changed:
            self._closing = True
            left = [*self._running, *self._waiting]
            self._waiting.clear()
        for generation in left:
            self._finish(generation, self._failure or ModelError("the model is closed"))
        if hasattr(self, "_memory"):
            self._memory.close()
        if hasattr(self, "vocab"):
            self.vocab.close()
        if self._model:
            self._lib.llama_model_free(self._model)

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not (self._closing or self._waiting or self._running):
                self._changed.wait()
            return not self._closing

    def _step(self) -> None:
        # The flag is cleared before the cancellations are read: one that comes in between stops a decode
        # that need not stop, and that decode is repeated.
        self._abort.clear()
        if self._closing:
            return
        self._drop_cancelled()
        self._make_room_to_write()
        self._admit()
        parts = self._batcher.fill(self._running, self._most_rows())
        if not parts:
            return
        llama_lib.forget_problems()
        llama_lib.hold_log()
        code = self._memory.context.decode()
        self.stats.decodes += 1
        if code == 0:
            for part in parts:
                self._writer.take(part)
            code = self._write_alone()
        llama_lib.release_log(expected=code == ABORTED)
        if code:
            self._recover([part.generation for part in parts], code)

    def _write_alone(self) -> int:
        """Go on with the only one for as long as there is nothing else to do; llama_decode's last code.

        It does what ``_step`` would, in fewer lines. Each decode reads all of a model's weights and leaves nothing
        of a program in the processor's caches, so that fetching ``_step`` costs several times what running it does.
        """
        if len(self._running) != 1:
            return 0
        alone, context = self._running[0], self._memory.context
        slot = alone.slot
        if slot is None or alone.prefilling or alone.drafter:
            return 0
        tokens, pending = slot.tokens, alone.pending
        while not (self._waiting or self._closing) and len(pending) == 1 and len(tokens) < context.length:
            code = context.decode_one(slot.id, pending[0], len(tokens))
            self.stats.decodes += 1
            if code or not self._writer.go_on(alone, slot):
                return code
        return 0

    def _most_rows(self) -> int:
        """Rows of prompt in one decode: as many as a processor computes at once for whoever watches them, and so
        none is computed otherwise than in a larger decode, which llama.cpp cuts into as many.
        """
        watched = time.monotonic() - self._asked < _ATTENTION and not self.placement.gpu_layers
        return PROCESSOR_ROWS if watched else BATCH

    def _drop_cancelled(self) -> None:
        for generation in [one for one in self._running if one.cancelled]:
            self._release(generation)

    def _admit(self) -> None:
        """Give one waiting request a slot; one at a time, since a copy takes effect with the next decode."""
        if not self._waiting:
            return
        with self._changed:
            if not self._waiting or self._memory.full:
                return
            generation = self._waiting.popleft()
            self._running.append(generation)
        try:
            self._writer.start(generation, self._memory.seat(generation.prompt))
        except ModelError as error:
            self._finish(generation, error)

    def _make_room_to_write(self) -> None:
        for generation in list(self._running):
            slot = generation.slot
            if slot and len(slot.tokens) + len(generation.pending) > self._memory.context.length:
                try:
                    self._memory.ensure_room(len(slot.tokens) + len(generation.pending))
                except ModelError as error:
                    self._finish(generation, error)

    def _recover(self, batch: list[Generation], code: int) -> None:
        """Forget a batch that was not computed: again after an abort, else its requests have failed."""
        left = [(one, one.slot) for one in batch if one.slot]
        for _, slot in left:
            self._memory.context.truncate(slot.id, len(slot.tokens))
        if code == ABORTED:
            return
        reason = llama_lib.recent_problems()
        error = ModelError(f"llama.cpp could not compute (code {code}){': ' + reason if reason else ''}")
        if code <= FATAL:
            raise error
        for generation, _ in left:
            self._finish(generation, error)

    def _finish(self, generation: Generation, ending: ModelError | None) -> None:
        self._release(generation)
        generation.hand(ending)

    def _release(self, generation: Generation) -> None:
        with self._changed:
            if generation in self._running:
                self._running.remove(generation)
        slot = generation.slot
        if slot:
            slot.busy = False
            slot.owed = generation.pending if generation.produced else []
            generation.slot = None
        if generation.sampler:
            generation.sampler.close()
            generation.sampler = None
