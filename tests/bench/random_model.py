"""Writes models with random weights and the shape of real ones: their text is noise, their speed is real.

Run it as ``python tests/bench/random_model.py SHAPE TYPE FILE``. The vocabulary has Llama 3's size; its rows
for control tokens are zero, so that greedy text never ends by itself.
"""

import itertools
import string
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

VOCABULARY = 128_256
CONTROL = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
)  # fmt: skip
FIRST_CONTROL = VOCABULARY - len(CONTROL)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Llama model."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    inner: int


SHAPES = {
    "tiny": Shape(256, 4, 4, 2, 64, 768),
    "small": Shape(768, 12, 12, 4, 64, 2048),
    "1b": Shape(2048, 16, 32, 8, 64, 8192),  # Llama 3.2 1B
    "3b": Shape(3072, 28, 24, 8, 128, 8192),  # Llama 3.2 3B
    "8b": Shape(4096, 32, 32, 8, 128, 14336),  # Llama 3.1 8B
}
TYPES = {
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
# bytes of a block of 32 weights behind its scale, and the deviation of a random block whose scale is 1
_BLOCKS = {GGMLQuantizationType.Q4_0: (16, 4.64), GGMLQuantizationType.Q8_0: (32, 73.9)}


def write_random_model(path: Path, shape: Shape, kind: str = "q8_0", *, seed: int = 0) -> Path:
    """Write a model to ``path`` and return it; embeddings, which are tied, are always Q8_0."""
    quantised, file_type = TYPES[kind]
    writer = GGUFWriter(path, "llama")
    _write_header(writer, shape)
    writer.add_file_type(file_type)
    rng = np.random.default_rng(seed)

    def add(name: str, rows: int, columns: int, data_type: GGMLQuantizationType, deviation: float) -> None:
        data = _random_blocks(rng, rows, columns, data_type, deviation)
        if name == "token_embd.weight":
            data[FIRST_CONTROL:] = 0
        writer.add_tensor(name, data, raw_dtype=data_type)

    add("token_embd.weight", VOCABULARY, shape.width, GGMLQuantizationType.Q8_0, 0.05)
    writer.add_tensor("rope_freqs.weight", _rope_factors(shape.head))
    writer.add_tensor("output_norm.weight", np.full(shape.width, 2.0, np.float32))
    for layer in range(shape.layers):
        _add_layer(writer, f"blk.{layer}.", shape, quantised, add)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_header(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_name("random")
    writer.add_context_length(131_072)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(500_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    tokens = _tokens()
    writer.add_token_list(tokens)
    writer.add_token_merges(["t h"])
    writer.add_token_types([1] * FIRST_CONTROL + [3] * len(CONTROL))
    writer.add_bos_token_id(tokens.index("<|begin_of_text|>"))
    writer.add_eos_token_id(tokens.index("<|eot_id|>"))


def _tokens() -> list[str]:
    """The bytes in GPT-2's printable form, made-up words of four letters, and the control tokens."""
    kept = {*range(33, 127), *range(161, 173), *range(174, 256)}
    moved = iter(range(256, 512))
    alphabet = [chr(byte) if byte in kept else chr(next(moved)) for byte in range(256)]
    words = ("".join(word) for word in itertools.product(string.ascii_lowercase, repeat=4))
    return [*alphabet, "th", *itertools.islice(words, FIRST_CONTROL - 257), *CONTROL]


def _add_layer(
    writer: GGUFWriter,
    prefix: str,
    shape: Shape,
    quantised: GGMLQuantizationType,
    add: Callable[[str, int, int, GGMLQuantizationType, float], None],
) -> None:
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"{prefix}{name}.weight", np.ones(shape.width, np.float32))
    for name, rows, columns in (
        ("attn_q", queries, shape.width),
        ("attn_k", keys, shape.width),
        ("attn_v", keys, shape.width),
        ("attn_output", shape.width, queries),
        ("ffn_gate", shape.inner, shape.width),
        ("ffn_up", shape.inner, shape.width),
        ("ffn_down", shape.width, shape.inner),
    ):
        add(f"{prefix}{name}.weight", rows, columns, quantised, columns**-0.5)


def _random_blocks(
    rng: np.random.Generator, rows: int, columns: int, data_type: GGMLQuantizationType, deviation: float
) -> Any:
    size, unit = _BLOCKS[data_type]
    blocks = rng.integers(0, 256, size=(rows * columns // 32, 2 + size), dtype=np.uint8)
    blocks[:, :2] = np.frombuffer(np.float16(deviation / unit).tobytes(), np.uint8)
    return blocks.reshape(rows, -1)


def _rope_factors(head: int) -> Any:
    """Llama 3.1's frequency scaling (factor 8, low 1, high 4, first trained with 8,192 tokens)."""
    waves = 2 * np.pi * 500_000.0 ** (np.arange(0, head, 2) / head)
    smooth = np.clip((8192 / waves - 1) / 3, 0, 1)
    return (1 / ((1 - smooth) / 8 + smooth)).astype(np.float32)


if __name__ == "__main__":
    write_random_model(Path(sys.argv[3]), SHAPES[sys.argv[1]], sys.argv[2])
