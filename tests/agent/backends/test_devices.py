"""Where a model goes: planned from its header and from devices that need not be there."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import arriero
from arriero.agent.backends import ModelError
from arriero.agent.backends.devices import (
    MARGIN,
    Device,
    build_command,
    decide,
    describe_devices,
    find_devices,
    gpu_bytes,
    place,
)
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.backends.settings import EngineSettings
from arriero.agent.backends.threads import count_cores

CPU = Device("CPU", "cpu", 8 << 30, 8 << 30)
SETTINGS = EngineSettings(8192)


@pytest.fixture(scope="module")
def info(tiny: Path) -> GGUFInfo:
    return GGUFInfo.read(tiny)


def gpu(free: int) -> Device:
    return Device("GPU0", "gpu", free, 80 << 30)


def test_this_machine_has_a_processor() -> None:
    devices = find_devices()
    assert any(device.kind == "cpu" and 0 < device.free <= device.total for device in devices)


def test_without_a_gpu(info: GGUFInfo) -> None:
    placement = place(info, SETTINGS, [CPU])
    assert (placement.gpu_layers, placement.layers) == (0, 3)
    assert "no GPU" in placement.line


def test_everything_fits(info: GGUFInfo) -> None:
    placement = place(info, SETTINGS, [CPU, gpu(MARGIN + gpu_bytes(info, SETTINGS))])
    assert placement.line == (
        f"3 of 3 layers on a GPU: all fit into {gpu_bytes(info, SETTINGS) / (1 << 30):.1f} GiB of GPU0 to use"
    )


def test_one_byte_less_leaves_a_layer_out(info: GGUFInfo) -> None:
    exact = MARGIN + gpu_bytes(info, SETTINGS)
    assert place(info, SETTINGS, [gpu(exact - 1)]).gpu_layers == 2
    assert place(info, SETTINGS, [gpu(exact)], reserved=1).gpu_layers == 2
    assert place(info, SETTINGS, [gpu(exact)], margin=MARGIN + 1).gpu_layers == 2


def test_a_full_gpu_takes_nothing(info: GGUFInfo) -> None:
    placement = place(info, SETTINGS, [gpu(MARGIN // 2)])
    assert placement.gpu_layers == 0
    assert "0.0 GiB of GPU0 to use, and all would take" in placement.reason


def test_keys_and_values_count(info: GGUFInfo) -> None:
    # tiny: 2 layers, 2 key-value heads of 32 values, f16
    per_token = 2 * 2 * (32 + 32) * 2
    small = EngineSettings(2048)
    assert (
        gpu_bytes(info, EngineSettings(4096)) - gpu_bytes(info, small) == (4096 * 3 // 2 - 2048) * per_token
    )
    more = EngineSettings(2048, sequences=5)
    assert gpu_bytes(info, more) - gpu_bytes(info, small) >= 4 * 2048 * per_token
    quantised = EngineSettings(2048, cache_type="q8_0")
    assert gpu_bytes(info, small) - gpu_bytes(info, quantised) == 2048 * per_token * 30 // 64


def test_a_second_model_finds_room(info: GGUFInfo) -> None:
    both = MARGIN + 2 * gpu_bytes(info, SETTINGS)
    first = place(info, SETTINGS, [gpu(both)], reserved=gpu_bytes(info, SETTINGS))
    second = place(info, SETTINGS, [gpu(both - gpu_bytes(info, SETTINGS))])
    assert (first.gpu_layers, second.gpu_layers) == (3, 3)


def test_two_gpus_share(info: GGUFInfo) -> None:
    half = MARGIN + gpu_bytes(info, SETTINGS, gpus=2) // 2 + 1
    assert place(info, SETTINGS, [gpu(half), gpu(half)]).gpu_layers == 3
    assert place(info, SETTINGS, [gpu(half), gpu(MARGIN)]).gpu_layers < 3


class Library:
    """Stands for a build that can use GPUs, with the devices that it reports through ggml's functions."""

    KINDS = ("cpu", "gpu", "igpu", "accelerator", "other")

    def __init__(self, *devices: Device) -> None:
        self._devices = devices
        self._lib = self
        self.ggml_backend_dev_count = Function(lambda: len(devices))
        self.ggml_backend_dev_get = Function(lambda index: index)
        self.ggml_backend_dev_name = Function(lambda at: devices[at].name.encode())
        self.ggml_backend_dev_description = Function(lambda at: devices[at].description.encode())
        self.ggml_backend_dev_type = Function(lambda at: self.KINDS.index(devices[at].kind))
        self.ggml_backend_dev_memory = Function(self._memory)

    def llama_supports_gpu_offload(self) -> bool:
        return True

    def _memory(self, at: int, free: Any, total: Any) -> None:
        free._obj.value, total._obj.value = self._devices[at].free, self._devices[at].total


class Function:
    """A function of a library: ctypes lets its types be set."""

    def __init__(self, body: Callable[..., Any]) -> None:
        self._body = body

    def __call__(self, *arguments: Any) -> Any:
        return self._body(*arguments)


CUDA = Device("CUDA0", "gpu", 23 << 30, 24 << 30, "NVIDIA RTX 4090")
METAL = Device("Metal", "gpu", 20 << 30, 24 << 30, "Apple M4 Pro")
VULKAN = Device("Vulkan0", "igpu", 12 << 30, 16 << 30, "AMD Radeon 890M")


@pytest.mark.parametrize("device", [CUDA, METAL, VULKAN], ids=lambda device: device.name)
def test_what_a_build_reports_is_used(info: GGUFInfo, device: Device) -> None:
    library = Library(CPU, device)
    assert find_devices(library) == (CPU, device)
    placement = decide(library, info, SETTINGS)
    assert (placement.gpu_layers, placement.layers) == (3, 3)
    assert placement.reason.startswith("all fit into ")
    assert device.name in placement.reason
    (line,) = describe_devices(library)
    assert line.startswith(f"{device.name} ({device.description}): ")
    assert f"of {device.total >> 30}.0 GiB free" in line


def test_a_small_gpu_takes_what_fits_beside_a_second_model(info: GGUFInfo) -> None:
    size = gpu_bytes(info, SETTINGS)
    library = Library(CPU, gpu(MARGIN + 2 * size - 1))
    assert decide(library, info, SETTINGS).gpu_layers == 3
    beside = decide(library, info, EngineSettings(8192, gpu_reserved=size))
    assert beside.gpu_layers == 2
    assert beside.reason.startswith("that many fit into ")


@pytest.mark.parametrize(("asked", "given"), [(-1, 3), (0, 0), (2, 2), (99, 3)])
def test_layers_that_were_asked_for(info: GGUFInfo, asked: int, given: int) -> None:
    placement = decide(Library(CPU, gpu(0)), info, EngineSettings(8192, gpu_layers=asked))
    assert placement.line == f"{given} of 3 layers on a GPU: as asked for"


def test_a_build_for_gpus_without_one(info: GGUFInfo) -> None:
    assert decide(Library(CPU), info, SETTINGS).gpu_layers == 0
    assert describe_devices(Library(CPU)) == (
        "llama.cpp is built for GPUs and finds none; is the driver installed?",
    )


def test_memory_on_several_processors_is_placed_once(tiny: Path) -> None:
    code = f"""
import asyncio, logging
logging.basicConfig(level="WARNING", format="%(message)s")
from arriero.agent.backends import Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel
for numa in ("distribute", "distribute", "isolate"):
    model = LlamaCppModel({str(tiny)!r}, n_threads=1, numa=numa)
    async def write():
        print(len([token async for token in model.generate([1, 2], Sampling(temperature=0), max_tokens=3)]))
        await model.aclose()
    asyncio.run(write())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(arriero.__file__).parents[1])},
    )
    assert (done.returncode, done.stdout.split()) == (0, ["3"] * 3)
    assert done.stderr.count("decided already by an earlier model") == 1


def test_the_model_says_where_it_is(tiny: Path) -> None:
    model = LlamaCppModel(tiny, n_gpu_layers=2)
    assert model.placement.layers == 3
    assert model.placement.line
    model.engine.close()


@pytest.mark.parametrize(
    ("platform", "nvidia", "flag"),
    [
        ("darwin", False, "-DGGML_METAL=on"),
        ("linux", True, "-DGGML_CUDA=on"),
        ("linux", False, "-DGGML_VULKAN=on"),
    ],
)
def test_the_command_to_build(tmp_path: Path, platform: str, nvidia: bool, flag: str) -> None:
    version = tmp_path / "version"
    if nvidia:
        version.touch()
    command = build_command(platform, version, str(tmp_path))
    assert command.startswith(f'CMAKE_ARGS="{flag}" pip install ')
    assert command.endswith("'llama-cpp-python>=0.3.36,<0.4'")


def test_lines_for_people() -> None:
    lines = describe_devices()
    assert lines
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"numa": "everywhere"}, "numa must be one of distribute, isolate, numactl"),
        ({"n_ctx": 8193}, "8193 tokens is more than the 8192 that tiny was trained for"),
    ],
)
def test_settings_that_cannot_be(tiny: Path, setting: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        LlamaCppModel(tiny, **setting)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("siblings", "cores"),
    [
        ({0: "0", 1: "1"}, 2),
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, 2),
        ({0: "0-1", 1: "0-1"}, 1),
        ({}, 4),
    ],
)
def test_cores_behind_hardware_threads(tmp_path: Path, siblings: dict[int, str], cores: int) -> None:
    for cpu, text in siblings.items():
        file = tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        file.parent.mkdir(parents=True)
        file.write_text(text + "\n")
    assert count_cores(siblings or range(4), tmp_path) == cores
