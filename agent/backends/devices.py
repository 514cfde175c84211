"""What a model can be computed on, and how much of it goes there."""

import ctypes
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import llama_lib
from .context import BATCH
from .gguf import GGUFInfo
from .memory import FIRST_LENGTH
from .settings import CACHE_BLOCKS, EngineSettings

MARGIN = 1 << 30  # bytes of each device that are left to its other users
_GRAPH = 64 << 20  # bytes that llama.cpp's graphs take whatever the model
_KINDS: dict[int, Literal["cpu", "gpu", "igpu", "accelerator"]] = {
    0: "cpu",
    1: "gpu",
    2: "igpu",
    3: "accelerator",
}

NVIDIA = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Device:
    """A device as llama.cpp reports it; ``free`` and ``total`` are bytes of its memory."""

    name: str
    kind: Literal["cpu", "gpu", "igpu", "accelerator", "other"]
    free: int
    total: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """How many of a model's ``layers`` (its blocks, and the output) go to GPUs, and why that many."""

    gpu_layers: int
    layers: int
    reason: str

    @property
    def line(self) -> str:
        """One line for people."""
        return f"{self.gpu_layers} of {self.layers} layers on a GPU: {self.reason}"


def find_devices(lib: Any = None) -> tuple[Device, ...]:
    """The devices of the installed llama.cpp build, as of now. Raises ModelError where there is no build."""
    library = (lib or llama_lib.load())._lib
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    return tuple(
        _read_device(library, library.ggml_backend_dev_get(index))
        for index in range(library.ggml_backend_dev_count())
    )


def _read_device(library: Any, pointer: int) -> Device:
    for name, result in (("name", ctypes.c_char_p), ("description", ctypes.c_char_p), ("type", ctypes.c_int)):
        function = getattr(library, f"ggml_backend_dev_{name}")
        function.argtypes, function.restype = [ctypes.c_void_p], result
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    library.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p] * 3
    library.ggml_backend_dev_memory.restype = None
    library.ggml_backend_dev_memory(pointer, ctypes.byref(free), ctypes.byref(total))
    return Device(
        (library.ggml_backend_dev_name(pointer) or b"").decode("utf-8", "replace"),
        _KINDS.get(library.ggml_backend_dev_type(pointer), "other"),
        free.value,
        total.value,
        (library.ggml_backend_dev_description(pointer) or b"").decode("utf-8", "replace"),
    )


def decide(lib: Any, info: GGUFInfo, settings: EngineSettings) -> Placement:
    """Where a model goes: as the settings ask for, or as ``place`` finds by what is free now."""
    if not lib.llama_supports_gpu_offload():
        return place(info, settings, ())
    if settings.gpu_layers is None:
        return place(info, settings, find_devices(lib), reserved=settings.gpu_reserved)
    layers = info.number("block_count") + 1
    asked = layers if settings.gpu_layers < 0 else min(settings.gpu_layers, layers)
    return Placement(asked, layers, "as asked for")


def place(
    info: GGUFInfo,
    settings: EngineSettings,
    devices: Sequence[Device],
    *,
    reserved: int = 0,
    margin: int = MARGIN,
) -> Placement:
    """How many layers fit into the free memory of the GPUs, with their keys and values for whole conversations.

    ``reserved`` bytes are kept for what is loaded later, such as a guard model (``gpu_bytes`` says how many it
    takes); ``margin`` bytes of each GPU stay free. llama.cpp fills GPUs from the last layer down, the output
    being the last.
    """
    layers = info.number("block_count") + 1
    gpus = [device for device in devices if device.kind in ("gpu", "igpu")]
    if not gpus:
        return Placement(0, layers, "there is no GPU that this build of llama.cpp can use")
    names = ", ".join(gpu.name for gpu in gpus)
    free = sum(max(0, gpu.free - margin) for gpu in gpus) - reserved
    left = free - _working_bytes(info, settings) * len(gpus)
    count = 0
    for size in _layer_sizes(info, settings):
        if size > left:
            break
        left -= size
        count += 1
    room = f"{_gib(max(0, free))} of {names} to use"
    if count == layers:
        return Placement(count, layers, f"all fit into {room}")
    need = f"all would take {_gib(gpu_bytes(info, settings, len(gpus)))}"
    if count == 0:
        return Placement(0, layers, f"there is {room}, and {need}")
    return Placement(count, layers, f"that many fit into {room}; {need}")


def gpu_bytes(info: GGUFInfo, settings: EngineSettings, gpus: int = 1) -> int:
    """Bytes that a whole model takes on a GPU: weights, keys and values, and room to compute."""
    return sum(_layer_sizes(info, settings)) + _working_bytes(info, settings) * gpus


def _layer_sizes(info: GGUFInfo, settings: EngineSettings) -> list[int]:
    """Bytes of the output and of each block, from the last one down, with its keys and values."""
    weights: dict[str, int] = {}
    for tensor in info.tensors:
        block = tensor.name.split(".")[1] if tensor.name.startswith("blk.") else tensor.name.split(".")[0]
        weights[block] = weights.get(block, 0) + tensor.nbytes
    output = weights.get("output", weights.get("token_embd", 0)) + weights.get("output_norm", 0)
    cells = settings.length * settings.sequences
    if settings.length > FIRST_LENGTH:
        cells += cells // 2  # while it grows for the last time, the half as large one is there too
    cache = cells * info.kv_values_per_layer * CACHE_BLOCKS[settings.cache_type] // 32
    blocks = range(info.number("block_count") - 1, -1, -1)
    return [output, *(weights.get(str(block), 0) + cache for block in blocks)]


def _working_bytes(info: GGUFInfo, settings: EngineSettings) -> int:
    """Logits of each sequence and activations of a batch in f32, for two contexts as while one grows.

    An estimate from above: llama.cpp reports 72 MiB where this gives 178 (Llama 3.2 1B, 16 sequences).
    """
    width, inner = info.number("embedding_length"), info.number("feed_forward_length")
    logits = settings.sequences * len(info.tokens) * 4
    return 2 * (logits + BATCH * 4 * (2 * inner + 4 * width)) + _GRAPH


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def build_command(platform: str = sys.platform, nvidia: Path = NVIDIA, programs: str | None = None) -> str:
    """The command that builds llama.cpp for the GPU that this machine seems to have.

    ``programs`` are the folders in which NVIDIA's are looked for; by default those of PATH.
    """
    if platform == "darwin":
        flag = "-DGGML_METAL=on"
    elif nvidia.exists() or shutil.which("nvidia-smi", path=programs):
        flag = "-DGGML_CUDA=on"
    else:
        flag = "-DGGML_VULKAN=on"
    return (
        f'CMAKE_ARGS="{flag}" pip install --force-reinstall --no-cache-dir '
        f"--no-binary llama-cpp-python '{llama_lib.REQUIREMENT}'"
    )


def describe_devices(lib: Any = None) -> tuple[str, ...]:
    """Lines for people: what the build can use, and how to build it for a GPU. Raises ModelError."""
    lib = lib or llama_lib.load()
    devices = find_devices(lib)
    lines = [
        f"{device.name} ({device.description}): {_gib(device.free)} of {_gib(device.total)} free"
        for device in devices
        if device.kind != "cpu"
    ]
    if not lib.llama_supports_gpu_offload():
        lines.append(f"llama.cpp is built for processors only; to build it for a GPU: {build_command()}")
    elif not lines:
        lines.append("llama.cpp is built for GPUs and finds none; is the driver installed?")
    return tuple(lines)
