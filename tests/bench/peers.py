"""What the benchmarks compare with: llama.cpp driven as barely as can be, and llama-cpp-python's own class."""

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arriero.agent.backends import llama_lib


class BareLoop:
    """The loop of llama.cpp's ``examples/simple``: decode, take the likeliest token, decode that one.

    One sequence, one thread by default; nothing is turned into text, nothing is checked.
    """

    def __init__(self, path: Path, *, length: int, threads: int = 1) -> None:
        self._lib = lib = llama_lib.load()
        self._model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = length, 512, 512
        params.n_threads = params.n_threads_batch = threads
        params.n_seq_max = params.n_outputs_max = 1
        params.no_perf = True
        self._context = lib.llama_init_from_model(self._model, params)
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        lib.llama_sampler_chain_add(self._chain, lib.llama_sampler_init_greedy())
        self._one = (lib.llama_token * 1)()

    def read(self, tokens: Sequence[int]) -> int:
        """Decode a prompt behind what is in memory, and return the likeliest next token."""
        lib = self._lib
        for start in range(0, len(tokens), 512):
            chunk = tokens[start : start + 512]
            rows = (lib.llama_token * len(chunk))(*chunk)
            if lib.llama_decode(self._context, lib.llama_batch_get_one(rows, len(chunk))):
                raise RuntimeError("llama_decode failed")
        token: int = lib.llama_sampler_sample(self._chain, self._context, -1)
        return token

    def write(self, token: int, count: int) -> int:
        """Decode ``token`` and ``count`` - 1 that follow from it; return the next one."""
        lib, context, chain, one = self._lib, self._context, self._chain, self._one
        batch = lib.llama_batch_get_one(one, 1)
        for _ in range(count):
            one[0] = token
            if lib.llama_decode(context, batch):
                raise RuntimeError("llama_decode failed")
            token = lib.llama_sampler_sample(chain, context, -1)
        return token

    def forget(self) -> None:
        """Empty the memory."""
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._context), True)

    def close(self) -> None:
        self._lib.llama_sampler_free(self._chain)
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)


@contextlib.contextmanager
def high_level(path: Path, *, length: int, threads: int = 1) -> Iterator[Any]:
    """llama-cpp-python's ``Llama`` with the same context and threads."""
    import llama_cpp

    llama = llama_cpp.Llama(
        str(path), n_ctx=length, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    # Its quiet mode replaced the library's log callback; ours is put back, or nothing would be reported.
    lib = llama_lib.load()
    lib.llama_log_set(llama_lib._callback, ctypes.c_void_p(0))
    try:
        yield llama
    finally:
        llama.close()


def resident_mb() -> float:
    """Resident memory of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6
