"""One llama context: a batch to fill, and the key-value memory of several sequences."""

import ctypes
from collections.abc import Sequence
from typing import Any

from . import llama_lib
from .base import ModelError
from .settings import EngineSettings

BATCH = (
    512  # rows of one decode; on a GPU also computed at once, tens of milliseconds in which nothing stops it
)
PROCESSOR_ROWS = 128  # rows that a processor computes at once: as fast as more, in less memory
SCORES = (
    512 << 20
)  # bytes that the attention scores of rows computed at once may take without flash attention

GGML_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}  # ggml.h, enum ggml_type
FLASH_AUTO, FLASH_OFF, FLASH_ON = -1, 0, 1  # llama.h, enum llama_flash_attn_type

ABORTED = 2  # llama.h, llama_decode: positive codes are recoverable, below -1 the context is lost
FATAL = -2


def flash_attention(settings: EngineSettings, *, offloaded: bool) -> int:
    """llama.cpp's flash attention setting."""
    if settings.flash_attention is not None:
        return FLASH_ON if settings.flash_attention else FLASH_OFF
    if settings.cache_type != "f16":
        return FLASH_ON
    return FLASH_AUTO if offloaded else FLASH_OFF


def rows_at_once(length: int, heads: int, *, scored: bool) -> int:
    """Rows that a processor computes at once, such that their attention ``scored`` in memory stays in bounds."""
    rows = PROCESSOR_ROWS
    while scored and rows > 16 and rows * heads * length * 4 > SCORES:
        rows //= 2
    return rows


class AbortFlag:
    """Stops a running decode from any thread.

    llama.cpp polls a callback in its compute threads. libc's ``strlen`` on a two-byte buffer is one that
    needs neither Python nor its lock: "" goes on, "x" stops (measured: within 10 ms on a processor).
    """

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(2)
        self._strlen = ctypes.CDLL(None).strlen

    def install(self, lib: Any, params: Any) -> None:
        params.abort_callback = ctypes.cast(self._strlen, lib.ggml_abort_callback)
        params.abort_callback_data = ctypes.cast(self._buffer, ctypes.c_void_p)

    def set(self) -> None:
        self._buffer[0] = b"x"

    def clear(self) -> None:
        self._buffer[0] = b"\0"


class Context:
    """``sequences`` separate streams of up to ``length`` tokens each; the methods are for one thread.

    Streams of their own (``kv_unified`` off) keep the attention of one conversation from running over the
    cells of the others. ``length`` may come out larger than asked for: llama.cpp rounds up. ``heads`` is the
    model's number of attention heads, ``offloaded`` says that layers of it are on a GPU.
    """

    def __init__(
        self,
        lib: Any,
        model: Any,
        settings: EngineSettings,
        *,
        length: int,
        heads: int,
        offloaded: bool,
        abort: AbortFlag,
    ) -> None:
        self._lib = lib
        sequences, flash = settings.sequences, flash_attention(settings, offloaded=offloaded)
        params = lib.llama_context_default_params()
        params.n_ctx = length * sequences
        params.n_batch = BATCH
        most = settings.length if settings.deterministic else length
        params.n_ubatch = BATCH if offloaded else rows_at_once(most, heads, scored=flash == FLASH_OFF)
        params.n_seq_max = sequences
        # otherwise logits are reserved for every row of a batch
        params.n_outputs_max = sequences + settings.most_guesses
        params.n_threads = params.n_threads_batch = settings.threads
        params.flash_attn_type = flash
        params.type_k = params.type_v = GGML_TYPES[settings.cache_type]
        params.kv_unified = False
        params.no_perf = True
        abort.install(lib, params)
        self._kept = (params, abort)
        llama_lib.forget_problems()
        self.pointer = lib.llama_init_from_model(model, params)
        if not self.pointer:
            reason = llama_lib.recent_problems() or "out of memory?"
            raise ModelError(f"no context of {sequences} x {length} tokens can be made: {reason}")
        self._memory = lib.llama_get_memory(self.pointer)
        self._vocabulary = (lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model)),)
        self._seen: dict[int, Any] = {}
        self.length: int = lib.llama_n_ctx_seq(self.pointer)
        self.rows = 0
        self._make_batch()

    def _make_batch(self) -> None:
        lib = self._lib
        self._tokens = (lib.llama_token * BATCH)()
        self._positions = (lib.llama_pos * BATCH)()
        self._owners = (lib.llama_seq_id * BATCH)()
        self._outputs = (ctypes.c_int8 * BATCH)()
        self._counts = (ctypes.c_int32 * BATCH)(*[1] * BATCH)
        pointer = ctypes.POINTER(lib.llama_seq_id)
        size, start = ctypes.sizeof(lib.llama_seq_id), ctypes.addressof(self._owners)
        self._owner_rows = (pointer * BATCH)(
            *(ctypes.cast(start + size * row, pointer) for row in range(BATCH))
        )
        batch = lib.llama_batch()
        batch.token, batch.pos, batch.seq_id = self._tokens, self._positions, self._owner_rows
        batch.n_seq_id, batch.logits, batch.embd = self._counts, self._outputs, None
        self._batch = batch

    def add(self, sequence: int, tokens: Sequence[int], position: int, *, outputs: int) -> int:
        """Add rows to the batch and return the last one's index; the last ``outputs`` of them get logits."""
        start, end = self.rows, self.rows + len(tokens)
        self._tokens[start:end] = tokens
        self._positions[start:end] = range(position, position + len(tokens))
        self._owners[start:end] = [sequence] * len(tokens)
        self._outputs[start:end] = [0] * len(tokens)
        self._outputs[end - outputs : end] = [1] * outputs
        self.rows = end
        return end - 1

    def decode(self) -> int:
        """Compute the batch, empty it, and return llama_decode's code (0 is success)."""
        self._batch.n_tokens = self.rows
        self.rows = 0
        code: int = self._lib.llama_decode(self.pointer, self._batch)
        return code

    def decode_one(self, sequence: int, token: int, position: int) -> int:
        """``add`` of one token and ``decode`` in one; its logits are row 0."""
        self._tokens[0], self._positions[0], self._owners[0], self._outputs[0] = token, position, sequence, 1
        self._batch.n_tokens = 1
        code: int = self._lib.llama_decode(self.pointer, self._batch)
        return code

    def logits(self, row: int) -> Any:
        """The logits of a row of the last batch, as a numpy vector that the next decode overwrites."""
        found = self._lib.llama_get_logits_ith(self.pointer, row)
        address = ctypes.addressof(found.contents)
        vector = self._seen.get(address)
        if vector is None:  # making a vector of an address takes longer than finding the largest logit
            import numpy as np

            vector = self._seen[address] = np.ctypeslib.as_array(found, shape=self._vocabulary)
        return vector

    def truncate(self, sequence: int, length: int) -> bool:
        """Forget what the sequence holds from position ``length`` on; False if the model cannot do that."""
        return bool(self._lib.llama_memory_seq_rm(self._memory, sequence, length, -1))

    def copy(self, source: int, target: int) -> None:
        """Make ``target`` hold all that ``source`` holds; between streams only whole copies exist."""
        self.truncate(target, 0)
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def save(self, sequence: int) -> ctypes.Array[ctypes.c_uint8]:
        """The sequence's keys and values as bytes, for ``restore`` in another context of the same model."""
        size = self._lib.llama_state_seq_get_size(self.pointer, sequence)
        state: ctypes.Array[ctypes.c_uint8] = (ctypes.c_uint8 * size)()
        if self._lib.llama_state_seq_get_data(self.pointer, state, size, sequence) != size:
            raise ModelError("llama.cpp cannot save a sequence")
        return state

    def restore(self, sequence: int, state: ctypes.Array[ctypes.c_uint8]) -> None:
        """Give the sequence the keys and values that ``save`` returned."""
        if not self._lib.llama_state_seq_set_data(self.pointer, state, len(state), sequence):
            raise ModelError("llama.cpp cannot restore a sequence")

    def close(self) -> None:
        pointer, self.pointer = self.pointer, None
        if pointer:
            self._lib.llama_free(pointer)
