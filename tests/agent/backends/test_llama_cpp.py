"""The model in process as the loop uses it, and the library behind it."""

import asyncio
import logging
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace

import pytest

import arriero
from arriero.agent.backends import ContextOverflow, Model, ModelError, Sampling, Token, llama_lib
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.backends.threads import cpu_quota, usable_cpus
from arriero.prompts import Segment

from .tiny_gguf import token_id, write_tiny_gguf

GREEDY = Sampling(temperature=0)
Z = ord("z")


async def collect(tokens: AsyncIterator[Token]) -> list[Token]:
    return [token async for token in tokens]


def generate(
    model: Model, tokens: list[int], sampling: Sampling = GREEDY, max_tokens: int | None = None
) -> list[Token]:
    return asyncio.run(collect(model.generate(tokens, sampling, max_tokens=max_tokens)))


async def time_until_idle(model: LlamaCppModel) -> float:
    start = time.monotonic()
    while not model.engine.idle:  # noqa: ASYNC110 -- an engine has no event for this
        await asyncio.sleep(0.001)
    return time.monotonic() - start


@pytest.fixture(scope="module")
def chain(scripted: Path) -> LlamaCppModel:
    return LlamaCppModel(scripted)


def test_satisfies_the_protocol(model: LlamaCppModel) -> None:
    as_protocol: Model = model
    assert (as_protocol.name, as_protocol.dialect, as_protocol.context_length) == ("tiny", "llama3.1", 8192)
    assert as_protocol.tokenize([Segment("<|eot_id|>", special=True), Segment("a")]) == [
        token_id("<|eot_id|>"),
        token_id("a"),
    ]


def test_messages_end_with_their_stop_token(chain: LlamaCppModel) -> None:
    assert generate(chain, [ord("a")]) == [
        Token(ord("b"), "b"),
        Token(token_id("<|eot_id|>"), "<|eot_id|>", "eot"),
    ]
    tokens = generate(chain, [ord("c")])
    assert [(token.text, token.stop) for token in tokens] == [
        ("<|python_tag|>", None),
        ("x", None),
        ("<|eom_id|>", "eom"),
    ]


def test_text_across_token_borders(chain: LlamaCppModel) -> None:
    tokens = generate(chain, [ord("d")])
    assert [token.text for token in tokens] == ["", "é", "", "", "", "😀", "<|end_of_text|>"]
    assert tokens[-1].stop == "eos"
    assert [token.text for token in generate(chain, [ord("e")])] == ["", "", "\ufffd<|eot_id|>"]
    assert [token.text for token in generate(chain, [ord("d")], max_tokens=3)] == ["", "é", "\ufffd"]


def test_max_tokens(chain: LlamaCppModel) -> None:
    assert len(generate(chain, [Z], max_tokens=5)) == 5
    assert generate(chain, [Z], max_tokens=0) == []


def test_seeds(tiny: Path, model: LlamaCppModel) -> None:
    warm = Sampling(temperature=1.5, top_p=0.95, top_k=50, min_p=0.01, seed=11)
    first = generate(model, [1, 2, 3], warm, max_tokens=20)
    assert generate(model, [1, 2, 3], warm, max_tokens=20) == first
    assert generate(model, [1, 2, 3], Sampling(temperature=1.5), max_tokens=20) != first
    runs = []
    for _ in range(2):
        seeded = LlamaCppModel(tiny, seed=5)
        runs.append([generate(seeded, [1], Sampling(temperature=2.0), max_tokens=20) for _ in range(2)])
        seeded.engine.close()
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=-1),
        Sampling(temperature=float("nan")),
        Sampling(top_p=0.0),
        Sampling(top_k=10**12, min_p=1.0, seed=-5),
        Sampling(temperature=1e9, seed=2**70),
    ],
)
def test_unusual_sampling(model: LlamaCppModel, sampling: Sampling) -> None:
    assert len(generate(model, [4, 5], sampling, max_tokens=4)) == 4


def test_overflow(scripted: Path) -> None:
    model = LlamaCppModel(scripted, n_ctx=100)
    with pytest.raises(ContextOverflow, match=r"101 tokens .* 100"):
        generate(model, [Z] * 101)
    assert len(generate(model, [Z] * 90)) == 11
    model.engine.close()


def test_closing_the_iterator_stops(chain: LlamaCppModel) -> None:
    async def main() -> None:
        async with aclosing(chain.generate([Z], GREEDY)) as tokens:
            async for _ in tokens:
                break
        assert await time_until_idle(chain) < 0.15
        assert len(await collect(chain.generate([ord("a")], GREEDY))) == 2

    asyncio.run(main())


def test_cancelling_the_task_stops_in_either_phase(tiny: Path) -> None:
    model = LlamaCppModel(tiny)

    async def main() -> None:
        delays: dict[int, list[float]] = {1: [], 8000: []}
        for length in [8000, 1] * 3:
            prompt = [len(delays[length])] * length
            task = asyncio.create_task(collect(model.generate(prompt, GREEDY)))
            await asyncio.sleep(0.03)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            delays[length].append(await time_until_idle(model))
        assert max(min(times) for times in delays.values()) < 0.15  # the best of three: others may compute
        assert len(await collect(model.generate([1, 2], GREEDY, max_tokens=3))) == 3
        await model.aclose()

    asyncio.run(main())


def test_conversations_at_once(scripted: Path) -> None:
    model = LlamaCppModel(scripted, n_parallel=4)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(collect(model.generate([index, Z], GREEDY, max_tokens=40)))
                for index in range(6)
            ]
        assert all([token.id for token in task.result()] == [Z] * 40 for task in tasks)
        await model.aclose()

    asyncio.run(main())


def test_closed_model(tiny: Path) -> None:
    model = LlamaCppModel(tiny)

    async def main() -> None:
        running = asyncio.create_task(collect(model.generate([1] * 4000, GREEDY)))
        await asyncio.sleep(0.01)
        await model.aclose()
        await model.aclose()
        with pytest.raises(ModelError, match="closed"):
            await running
        with pytest.raises(ModelError, match="closed"):
            await collect(model.generate([1], GREEDY))
        with pytest.raises(ModelError, match="closed"):
            model.tokenize([Segment("a")])

    asyncio.run(main())


def test_progress_is_told(tiny: Path) -> None:
    seen: list[float] = []
    LlamaCppModel(tiny, on_progress=seen.append).engine.close()
    assert seen
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_progress_callback_that_fails(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(_fraction: float) -> None:
        raise KeyError

    with pytest.raises(ModelError, match="loading was stopped"):
        LlamaCppModel(tiny, on_progress=broken)
    assert capfd.readouterr() == ("", "")


def test_dialect_of_the_file(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", metadata={"arriero.dialect": "llama3.2"})
    model = LlamaCppModel(path)
    assert model.dialect == "llama3.2"
    model.engine.close()


def test_files_that_llama_cpp_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"blk.1.ffn_down.weight", b"blk.1.ffn_dawn.weight"))
    with pytest.raises(ModelError, match=r"m\.gguf: llama\.cpp cannot load it: .*ffn_down"):
        LlamaCppModel(path)
    with pytest.raises(ModelError, match="No such file"):
        LlamaCppModel(tmp_path / "none.gguf")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["n_ctx", "n_threads", "n_parallel"])
def test_settings_that_cannot_be(tiny: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} must be at least 1, not 0"):
        LlamaCppModel(tiny, **{name: 0})
    with pytest.raises(ModelError, match="at most"):
        LlamaCppModel(tiny, **{name: 2**40})


def test_memory_that_is_not_there(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", context_length=1 << 20)
    code = f"""
import asyncio, resource
from arriero.agent.backends import ModelError, Sampling
from arriero.agent.backends.llama_cpp import LlamaCppModel
model = LlamaCppModel({str(path)!r}, n_ctx=1 << 20, n_threads=1)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (100 << 20),) * 2)
async def main():
    try:
        await anext(model.generate([1] * 600_000, Sampling()))
    except ModelError as error:
        print(error)
    print(len([token async for token in model.generate([1], Sampling(), max_tokens=3)]))
asyncio.run(main())
"""
    error, count = python(code).splitlines()
    assert "no context of 1 x 1048576 tokens can be made" in error
    assert count == "3"


def test_a_file_deleted_while_running(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf")
    model = LlamaCppModel(path)
    path.unlink()
    assert len(generate(model, [1, 2], max_tokens=5)) == 5
    model.engine.close()


def test_a_stopped_decode_is_no_error_in_the_log(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = LlamaCppModel(tiny)

    async def main() -> None:
        task = asyncio.create_task(collect(model.generate([1] * 8000, GREEDY)))
        await asyncio.sleep(0.05)
        await model.aclose()
        with pytest.raises(ModelError, match="closed"):
            await task

    with caplog.at_level(logging.INFO, logger="arriero.llama"):
        asyncio.run(main())
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_the_library_logs_to_logging(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="arriero.llama"):
        LlamaCppModel(tiny).engine.close()
    assert any("llama" in record.message for record in caplog.records)


def python(code: str, **env: str) -> str:
    """What a fresh interpreter prints; it must print no error."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(arriero.__file__).parents[1]), **env},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise ImportError('no numpy')", "(no numpy); run: pip install 'llama-cpp-python"),
        ("raise FileNotFoundError('libllama.so')", "no usable compiled library (libllama.so); with a C++"),
        ("raise AttributeError('undefined symbol: llama_x')", "differ (undefined symbol: llama_x)"),
    ],
)
def test_a_library_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, expected: str
) -> None:
    (tmp_path / "arriero_test_layer.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=re.escape(expected)):
        llama_lib.import_layer("arriero_test_layer")
    with pytest.raises(ModelError, match="cannot be imported"):
        llama_lib.import_layer("arriero_no_such_layer")


def test_missing_fields_are_named() -> None:
    lib = SimpleNamespace(**{name: object() for name in llama_lib._SYMBOLS})
    with pytest.raises(ModelError, match=r"lacks llama_model_params\.n_gpu_layers, .*, …;"):
        llama_lib.check_layer(lib)


LOAD = """
import os, sys
import arriero.agent.backends.llama_cpp
assert not {"llama_cpp", "numpy"} & set(sys.modules), "imported too early"
arriero.agent.backends.llama_lib.load()
print(os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("env", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "None")],
)
def test_openmp_is_calmed_unless_the_user_says_otherwise(env: dict[str, str], expected: str) -> None:
    assert python(LOAD, **env).strip() == expected


@pytest.mark.parametrize(
    ("files", "groups", "expected"),
    [
        ({}, "", None),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"a/cpu.max": "max 100000\n", "a/b/cpu.max": "50000 100000\n"}, "0::/a/b\n", 0.5),
        ({"a/cpu.max": "30000 100000\n", "a/b/cpu.max": "50000 100000\n"}, "0::/a/b\n", 0.3),
        (
            {"cpu/x/cpu.cfs_quota_us": "200000", "cpu/x/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/x\n",
            2.0,
        ),
        ({"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/x\n", None),
        ({"cpu.max": "garbage 0\n"}, "0::/../..\nnonsense\n", None),
    ],
)
def test_cpu_quota(tmp_path: Path, files: dict[str, str], groups: str, expected: float | None) -> None:
    own = tmp_path / "own"
    own.write_text(groups)
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu_quota(tmp_path / "root", own) == expected
    cpus = usable_cpus(tmp_path / "root", own)
    assert cpus >= 1
    if expected is not None:
        assert cpus <= max(1, round(expected + 0.5))
