"""Loads the weights of a model, telling how far it is."""

import os
import re
from collections.abc import Callable
from typing import Any

from . import llama_lib
from .base import ModelError
from .gguf import GGUFInfo

# What C++, the system, ggml and its devices say when there is none left.
_NO_MEMORY = re.compile(r"bad_alloc|allocat|memory", re.IGNORECASE)


class Loading:
    """One attempt to load; ``stop`` ends it soon, from any thread."""

    def __init__(self, on_progress: Callable[[float], None] | None = None) -> None:
        self._on_progress = on_progress
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def run(self, lib: Any, info: GGUFInfo, gpu_layers: int) -> Any:
        """The loaded llama_model; ``on_progress`` is called with fractions from 0 to 1. Raises ModelError."""
        params = lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.progress_callback = lib.llama_progress_callback(self._tell)
        llama_lib.forget_problems()
        model = lib.llama_model_load_from_file(os.fsencode(info.path), params)
        if model:
            return model
        if self._stopped:
            raise ModelError(f"{info.path}: llama.cpp cannot load it: loading was stopped")
        reason = llama_lib.recent_problems() or "out of memory?"
        raise ModelError(
            f"{info.path}: llama.cpp cannot load it: {reason}{_advice(reason, info, gpu_layers)}"
        )

    def _tell(self, fraction: float, _data: object) -> bool:
        try:
            if self._on_progress and not self._stopped:
                self._on_progress(fraction)
        except Exception:  # it has no way through C
            llama_lib.LOGGER.exception("on_progress failed; loading is stopped")
            self._stopped = True
        return not self._stopped


def _advice(reason: str, info: GGUFInfo, gpu_layers: int) -> str:
    if gpu_layers:
        return f"; with fewer than {gpu_layers} layers on the GPU it may fit (n_gpu_layers)"
    if _NO_MEMORY.search(reason):
        return (
            f"; its weights take {info.size / (1 << 30):.1f} GiB of memory: a smaller quantisation or a smaller "
            "model may fit (arriero models list)"
        )
    return ""
