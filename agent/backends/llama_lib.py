"""The ctypes layer of llama-cpp-python: imported on first use, checked, and kept off the terminal."""

import atexit
import ctypes
import importlib
import logging
import os
import threading
from types import ModuleType
from typing import Any

from .base import ModelError

REQUIREMENT = "llama-cpp-python>=0.3.36,<0.4"
LOGGER = logging.getLogger("arriero.llama")
LOGGER.addHandler(logging.NullHandler())  # where nobody configured logging, Python would print errors

_SYMBOLS = (
    "llama_backend_init", "llama_log_set", "llama_model_default_params", "llama_model_load_from_file",
    "llama_model_free", "llama_model_get_vocab", "llama_model_n_ctx_train", "llama_vocab_n_tokens",
    "llama_vocab_is_eog", "llama_vocab_is_control", "llama_tokenize", "llama_token_to_piece",
    "llama_context_default_params", "llama_init_from_model", "llama_free", "llama_n_ctx_seq",
    "llama_get_memory", "llama_memory_clear", "llama_memory_seq_rm", "llama_memory_seq_cp", "llama_decode",
    "llama_state_seq_get_size", "llama_state_seq_get_data", "llama_state_seq_set_data",
    "llama_supports_gpu_offload", "llama_numa_init",
    "llama_sampler_chain_default_params", "llama_sampler_chain_init",
    "llama_sampler_chain_add", "llama_sampler_free", "llama_sampler_init_dist",
    "llama_sampler_init_top_k", "llama_sampler_init_top_p", "llama_sampler_init_min_p",
    "llama_sampler_init_temp", "llama_sampler_sample", "llama_sampler_apply", "llama_token_data",
    "llama_token_data_array", "llama_get_logits_ith", "ggml_abort_callback",
    "llama_log_callback", "llama_progress_callback", "llama_batch", "llama_token", "llama_pos", "llama_seq_id",
)  # fmt: skip
_FIELDS = {
    "llama_model_params": ("n_gpu_layers", "vocab_only", "progress_callback"),
    "llama_context_params": (
        "n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_outputs_max", "n_threads", "n_threads_batch",
        "flash_attn_type", "type_k", "type_v", "abort_callback", "abort_callback_data", "no_perf", "kv_unified",
    ),
    "llama_batch": ("n_tokens", "token", "embd", "pos", "n_seq_id", "seq_id", "logits"),
}  # fmt: skip
# ggml.h, enum ggml_log_level: NONE 0, DEBUG 1, INFO 2, WARN 3, ERROR 4, CONT 5 (goes on with the last line)
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
_CONTINUED = 5

_lock = threading.Lock()
_module: ModuleType | None = None
_numa: int | None = None
_callback: Any = None  # ctypes does not keep a callback alive; the library calls it until the process ends
_problems: list[str] = []
_held = threading.local()


def load() -> Any:
    """The module ``llama_cpp.llama_cpp``, its library initialised and its output sent to ``arriero.llama``.

    Raises ModelError, saying what to run, when the package is missing, has another version's interface, or
    was installed without its compiled library.
    """
    global _module
    with _lock:
        if _module is None:
            _calm_openmp()
            lib = import_layer("llama_cpp.llama_cpp")
            check_layer(lib)
            _redirect_log(lib)
            lib.llama_backend_init()
            _module = lib
        return _module


def set_numa(strategy: int) -> None:
    """Tell llama.cpp how to place memory (ggml-cpu.h, enum ggml_numa_strategy); only the first call counts."""
    global _numa
    lib = load()
    with _lock:
        if _numa is None:
            lib.llama_numa_init(strategy)
            _numa = strategy
        elif _numa != strategy:
            LOGGER.warning("the placement of memory is decided already by an earlier model of this process")


def import_layer(name: str) -> Any:
    """Import the ctypes layer; every way in which that fails is one ModelError."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(
            f"llama-cpp-python cannot be imported ({_one_line(error)}); run: pip install '{REQUIREMENT}'"
        ) from error
    except (OSError, RuntimeError) as error:
        raise ModelError(
            "llama-cpp-python has no usable compiled library "
            f"({_one_line(error)}); with a C++ compiler and make installed, run: "
            f"pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python '{REQUIREMENT}'"
        ) from error
    except AttributeError as error:
        raise ModelError(
            f"llama-cpp-python and its compiled library differ ({_one_line(error)}); {_reinstall()}"
        ) from error


def check_layer(lib: Any) -> None:
    """Raise ModelError unless the layer has every function and structure field that is used here."""
    missing = [name for name in _SYMBOLS if not hasattr(lib, name)]
    for struct, fields in _FIELDS.items():
        known = {field[0] for field in getattr(getattr(lib, struct, None), "_fields_", ())}
        missing += [f"{struct}.{field}" for field in fields if field not in known]
    if missing:
        shown = ", ".join(missing[:4]) + (", …" if len(missing) > 4 else "")
        raise ModelError(f"this version of llama-cpp-python does not fit: it lacks {shown}; {_reinstall()}")


def recent_problems() -> str:
    """The first error line since ``forget_problems``, which is the cause of those after it; "" if none."""
    return _problems[0] if _problems else ""


def forget_problems() -> None:
    """Start afresh, so that ``recent_problems`` tells only what a coming call reports."""
    _problems.clear()


def hold_log() -> None:
    """Keep what the library says on this thread until ``release_log``."""
    _held.lines = []


def release_log(*, expected: bool) -> None:
    """Log what was held; ``expected`` failures, such as a decode that was stopped, only for debugging."""
    lines, _held.lines = _held.lines, None
    for level, text in lines:
        _log(logging.DEBUG if expected else level, text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[-300:]


def _reinstall() -> str:
    return f"run: pip install --force-reinstall '{REQUIREMENT}'"


def _calm_openmp() -> None:
    """Bound how long idle OpenMP threads spin: their default starves every other process on a shared machine.

    Measured on two cores: decoding beside other load is 3 to 10 times faster, and as fast on an idle machine.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _redirect_log(lib: Any) -> None:
    global _callback
    line: list[str] = []
    level = logging.INFO

    def receive(code: int, text: bytes | None, _data: object) -> None:
        nonlocal level
        if code != _CONTINUED:
            _emit(level, line)
            level = _LEVELS.get(code, logging.INFO)
        line.append((text or b"").decode("utf-8", "replace"))
        if line[-1].endswith("\n"):
            _emit(level, line)

    _callback = lib.llama_log_callback(receive)
    lib.llama_log_set(_callback, ctypes.c_void_p(0))
    atexit.register(_silence, lib)


def _emit(level: int, line: list[str]) -> None:
    text = "".join(line).strip()
    line.clear()
    held = getattr(_held, "lines", None)
    if held is not None:
        held.append((level, text))
    elif text.strip("."):  # not only progress dots
        _log(level, text)


def _log(level: int, text: str) -> None:
    if level >= logging.ERROR and len(_problems) < 20:
        _problems.append(text)
    LOGGER.log(level, "%s", text)


def _silence(lib: Any) -> None:
    # Destructors may log after the interpreter is gone. getpid takes no arguments and does nothing with those
    # it gets, so it is a callback that needs no Python.
    nothing = ctypes.cast(ctypes.CDLL(None).getpid, lib.llama_log_callback)
    lib.llama_log_set(nothing, ctypes.c_void_p(0))
