"""Writes Llama models small enough for tests: real files for the real library, of a few hundred kB.

The vocabulary is byte-level with a few merges and all Llama 3 control tokens. Weights are random, or, with
``successors``, such that every token is followed by the one it names: a model with a script.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter

CONTROL = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eom_id|>", "<|eot_id|>", "<|python_tag|>", "<|finetune_right_pad_id|>",
)  # fmt: skip
NORMAL_TYPE, CONTROL_TYPE = 1, 3
WIDTH, LAYERS, HEADS, KV_HEADS, INNER = 128, 2, 4, 2, 128


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Llama model."""

    width: int = WIDTH
    layers: int = LAYERS
    heads: int = HEADS
    kv_heads: int = KV_HEADS
    inner: int = INNER


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in for each byte."""
    kept = {*range(33, 127), *range(161, 173), *range(174, 256)}
    moved = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(moved)) for byte in range(256)]


def vocabulary() -> tuple[list[str], list[str]]:
    """Tokens (the 256 bytes by value first) and merges; the longest token is 64 spaces."""
    alphabet = byte_alphabet()
    space = alphabet[32]
    merges = [f"{space * n} {space * n}" for n in (1, 2, 4, 8, 16, 32)]
    merges += ["t h", "th e", f"{space} the", "e r", "i n"]
    return alphabet + [merge.replace(" ", "") for merge in merges], merges


def token_id(name: str) -> int:
    """Id of a control token, or of a text that is one token."""
    plain, _ = vocabulary()
    if name in CONTROL:
        return len(plain) + CONTROL.index(name)
    alphabet = byte_alphabet()
    return plain.index("".join(alphabet[byte] for byte in name.encode()))


def write_tiny_gguf(
    path: Path,
    *,
    successors: Mapping[int, int] | None = None,
    context_length: int = 8192,
    seed: int = 0,
    control: tuple[str, ...] = CONTROL,
    control_type: int = CONTROL_TYPE,
    weights: bool = True,
    inner: int = INNER,
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model of two layers to ``path`` and return it; ``tensors`` come on top of its weights."""
    plain, merges = vocabulary()
    made = _weights(len(plain), len(plain) + len(control), successors, seed, inner) if weights else {}
    return write_llama(
        path,
        made | dict(tensors or {}),
        plain=plain,
        merges=merges,
        control=control,
        control_type=control_type,
        shape=Shape(inner=inner),
        context_length=context_length,
        metadata=metadata,
    )


def write_llama(
    path: Path,
    weights: Mapping[str, Any],
    *,
    plain: Sequence[str],
    merges: Sequence[str],
    control: Sequence[str] = CONTROL,
    control_type: int = CONTROL_TYPE,
    shape: Shape = Shape(),
    name: str = "tiny",
    context_length: int = 8192,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model with these weights to ``path`` and return it; its tokens are ``plain``, then ``control``."""
    writer = GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_context_length(context_length)
    _write_shape(writer, shape)
    _write_vocabulary(writer, plain, merges, control, control_type)
    for key, value in (metadata or {}).items():
        (writer.add_string if isinstance(value, str) else writer.add_uint32)(key, value)
    for tensor, array in weights.items():
        writer.add_tensor(tensor, array.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_shape(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)


def _write_vocabulary(
    writer: GGUFWriter,
    plain: Sequence[str],
    merges: Sequence[str],
    control: Sequence[str],
    control_type: int,
) -> None:
    writer.add_vocab_size(len(plain) + len(control))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_add_bos_token(True)
    writer.add_token_list([*plain, *control])
    writer.add_token_merges(merges)
    writer.add_token_types([NORMAL_TYPE] * len(plain) + [control_type] * len(control))
    if "<|begin_of_text|>" in control:
        writer.add_bos_token_id(len(plain) + control.index("<|begin_of_text|>"))
    if "<|eot_id|>" in control:
        writer.add_eos_token_id(len(plain) + control.index("<|eot_id|>"))


def _weights(
    n_plain: int, n_tokens: int, successors: Mapping[int, int] | None, seed: int, inner: int
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    embedding = rng.standard_normal((n_tokens, WIDTH))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    output = rng.standard_normal((n_tokens, WIDTH)) / 4
    output[n_plain:] = 0  # random text hardly ever ends by itself
    if successors is not None:
        output = np.zeros((n_tokens, WIDTH))
        for token, following in successors.items():
            output[following] += embedding[token] * 4
    weights = {
        "token_embd.weight": embedding,
        "output_norm.weight": np.ones(WIDTH),
        "output.weight": output,
    }
    kv_width = WIDTH // HEADS * KV_HEADS
    shapes = {
        "attn_q": (WIDTH, WIDTH), "attn_k": (kv_width, WIDTH), "attn_v": (kv_width, WIDTH),
        "attn_output": (WIDTH, WIDTH), "ffn_gate": (inner, WIDTH), "ffn_up": (inner, WIDTH),
        "ffn_down": (WIDTH, inner),
    }  # fmt: skip
    for layer in range(LAYERS):
        weights[f"blk.{layer}.attn_norm.weight"] = np.ones(WIDTH)
        weights[f"blk.{layer}.ffn_norm.weight"] = np.ones(WIDTH)
        for name, shape in shapes.items():
            silent = successors is not None and name in ("attn_output", "ffn_down")
            scale = 0.0 if silent else WIDTH**-0.5
            weights[f"blk.{layer}.{name}.weight"] = rng.standard_normal(shape) * scale
    return weights
