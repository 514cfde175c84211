"""The GGUF header reader: what it tells, and one clear line for every file that is none."""

import os
import struct
from pathlib import Path

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.agent.backends import ModelError
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.backends.gguf_format import BLOCKS, ArraySummary

from .tiny_gguf import CONTROL, HEADS, KV_HEADS, LAYERS, WIDTH, token_id, vocabulary, write_tiny_gguf

VOCAB = Path(__file__).parents[4] / "shared" / "data" / "llama31-vocab.gguf"


def problem(path: Path | str) -> str:
    """The one line that says why the file is no chat model."""
    with pytest.raises(ModelError) as caught:
        GGUFInfo.read(path).require_chat_model()
    line = str(caught.value)
    assert line.isprintable()
    return line


def verdict(path: Path) -> str | None:
    """Why the file is no chat model; None if it is one."""
    try:
        GGUFInfo.read(path).require_chat_model()
    except ModelError as error:
        return str(error)
    return None


def test_reads_a_model(tiny: Path) -> None:
    info = GGUFInfo.read(tiny)
    info.require_chat_model()
    assert (info.architecture, info.name, info.version) == ("llama", "tiny", 3)
    assert info.context_length == 8192
    assert info.kv_bytes_per_token == LAYERS * KV_HEADS * 2 * (WIDTH // HEADS) * 2
    assert info.special == {name: token_id(name) for name in CONTROL if "pad" not in name}
    assert info.tokens == (*vocabulary()[0], *CONTROL)
    assert info.size == tiny.stat().st_size
    assert info.chat_template is None


def test_reads_text_and_short_arrays(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("x.numbers", [1, 2, 3])
    writer.add_array("x.words", ["a", "é"])
    writer.add_array("x.long", list(range(5000)))
    writer.add_array("x.many", ["w"] * 5000)
    for name, add, value in (
        ("u8", writer.add_uint8, 200), ("i8", writer.add_int8, -3), ("u16", writer.add_uint16, 40_000),
        ("i16", writer.add_int16, -5), ("i32", writer.add_int32, -70_000), ("u64", writer.add_uint64, 2**40),
        ("i64", writer.add_int64, -(2**40)), ("f32", writer.add_float32, 0.5),
        ("f64", writer.add_float64, 0.1), ("flag", writer.add_bool, True),
    ):  # fmt: skip
        add(f"x.{name}", value)
    writer.add_chat_template("{{ x }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    info = GGUFInfo.read(path)
    assert info.metadata["x.numbers"] == (1, 2, 3)
    assert info.metadata["x.words"] == ("a", "é")
    assert info.metadata["x.long"] == ArraySummary(5, 5000)
    assert info.metadata["x.many"] == ArraySummary(8, 5000)
    assert info.metadata["x.u64"] == 2**40
    assert info.metadata["x.i16"] == -5
    assert info.metadata["x.f64"] == 0.1
    assert info.metadata["x.flag"] is True
    assert info.chat_template == "{{ x }}"


def test_block_sizes_are_those_of_the_format() -> None:
    for kind, sizes in gguf.GGML_QUANT_SIZES.items():
        if kind.value in BLOCKS:
            assert BLOCKS[kind.value] == sizes, kind.name


@pytest.mark.skipif(not VOCAB.exists(), reason="needs the Llama 3.1 vocabulary beside the project's root")
def test_reads_the_real_vocabulary() -> None:
    info = GGUFInfo.read(VOCAB)
    assert info.special["<|python_tag|>"] == 128010
    assert len(info.tokens) == 128256
    assert "no weights" in problem(VOCAB)


def test_missing_directory_and_special_files(tmp_path: Path) -> None:
    assert "No such file" in problem(tmp_path / "none.gguf")
    assert "directory" in problem(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "regular" in problem(tmp_path / "pipe")
    assert "null" in problem("a\0b")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"a text\n" * 100, "not a GGUF file"),
        (b"\x00" * 4096, "not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"GGUF", "ends inside its header"),
        (b"GGUF" + struct.pack("<I", 1), "version 1"),
        (b"GGUF" + struct.pack(">I", 3), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60), "damaged"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62) + b"key", "ends inside its header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**50), "damaged"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 1), "array"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 77), "unknown type 77"),
    ],
)
def test_bad_content(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    assert expected in problem(path)


def test_truncated_at_any_place(tiny: Path, tmp_path: Path) -> None:
    whole = tiny.read_bytes()
    path = tmp_path / "cut.gguf"
    for length in (5, 23, 100, 5000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "truncated" in problem(path)


def test_header_larger_than_the_first_read(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", metadata={"x.long": "y" * (17 << 20)})
    info = GGUFInfo.read(path)
    assert len(info.text("x.long")) == 17 << 20
    info.require_chat_model()


def test_vocabulary_without_weights(tmp_path: Path) -> None:
    assert "no weights" in problem(write_tiny_gguf(tmp_path / "v.gguf", weights=False))


def test_names_are_shown_as_one_line(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "m.gguf", metadata={"x.y": "z"})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\x04" + bytes(7) + b"tiny", b"\x04" + bytes(7) + b"\x1b\nx "))
    assert GGUFInfo.read(path).name == "��x"
    path.write_bytes(data[:-1])
    cut = path.rename(tmp_path / "a\nb.gguf")
    assert "a�b.gguf: is truncated" in problem(cut)


def test_missing_control_tokens_are_named(tmp_path: Path) -> None:
    line = problem(write_tiny_gguf(tmp_path / "m.gguf", control=("<|begin_of_text|>", "<|eot_id|>")))
    assert line.endswith("lacks <|start_header_id|>, <|end_header_id|>")


def test_duplicate_tokens_would_abort_the_process(tmp_path: Path) -> None:
    line = problem(write_tiny_gguf(tmp_path / "m.gguf", control=(*CONTROL, "<|eot_id|>")))
    assert "'<|eot_id|>' twice" in line


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"llama.pooling_type": 1}, "embedding model"),
        ({"general.alignment": 33}, "alignment"),
        ({"split.count": 3}, "00002-of-00003.gguf is missing"),
        ({"split.count": 3, "split.no": 1}, "give the first part"),
        ({"split.count": 2**31}, "damaged"),
    ],
)
def test_files_that_are_no_chat_model(tmp_path: Path, metadata: dict[str, int], expected: str) -> None:
    name = "m-00001-of-00003.gguf"
    assert expected in problem(write_tiny_gguf(tmp_path / name, metadata=metadata))


@pytest.mark.parametrize(
    ("key", "value"), [("attention.head_count", 0), ("attention.head_count_kv", 3), ("block_count", 2**31)]
)
def test_geometry_that_cannot_be(tiny: Path, tmp_path: Path, key: str, value: int) -> None:
    name = f"llama.{key}".encode()
    data = tiny.read_bytes()
    at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + 4
    path = tmp_path / "m.gguf"
    path.write_bytes(data[:at] + struct.pack("<I", value) + data[at + 4 :])
    assert key in problem(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_gives_a_model_error_and_nothing_else(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    header = tiny.read_bytes()[:20_000]
    damaged = bytearray(header[: data.draw(st.integers(0, len(header)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    path.write_bytes(damaged)
    assert problem(path)


@settings(max_examples=60, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 255)), min_size=1, max_size=6))
def test_flipped_bytes_of_a_whole_file(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    damaged = bytearray(tiny.read_bytes())
    for place, byte in flips:
        damaged[place] = byte
    path = tmp_path_factory.getbasetemp() / "flipped.gguf"
    path.write_bytes(damaged)
    line = verdict(path)
    assert line is None or line.isprintable()
