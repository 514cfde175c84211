"""Loads the weights of a model, telling how far it is."""

import os
from collections.abc import Callable
from typing import Any

from . import llama_lib
from .base import ModelError
from .gguf import GGUFInfo


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
        reason = "loading was stopped" if self._stopped else llama_lib.recent_problems() or "out of memory?"
        advice = (
            f"; with fewer than {gpu_layers} layers on the GPU it may fit (n_gpu_layers)"
            if gpu_layers
            else ""
        )
        raise ModelError(f"{info.path}: llama.cpp cannot load it: {reason}{'' if self._stopped else advice}")

    def _tell(self, fraction: float, _data: object) -> bool:
        try:
            if self._on_progress and not self._stopped:
                self._on_progress(fraction)
        except Exception:  # it has no way through C
            llama_lib.LOGGER.exception("on_progress failed; loading is stopped")
            self._stopped = True
        return not self._stopped
