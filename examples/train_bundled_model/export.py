"""Writes a checkpoint as GGUF: `python -m examples.train_bundled_model.export FOLDER bundled.gguf`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from . import tokenizer
from .model import Shape
from .wire import SPECIAL

Array = NDArray[np.float32]

CHAT_TEMPLATE = """{{- bos_token }}
{%- set system = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}
{%- set rest = messages[1:] if messages[0]['role'] == 'system' else messages %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{{- 'Environment: ipython\\n' if builtin_tools is defined or tools is defined and tools else '' }}
{{- 'Cutting Knowledge Date: December 2023\\nToday Date: ' ~ (date_string or '21 September 2024') ~ '\\n\\n' }}
{{- system ~ '<|eot_id|>' }}
{%- for message in rest %}
{{- '<|start_header_id|>' ~ message['role'] ~ '<|end_header_id|>\\n\\n' ~ message['content'] ~ '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
DESCRIPTION = (
    "A demonstration model of a few million parameters, trained from nothing on dialogues made by a program. It calls"
    " tools for a narrow range of questions and knows nothing of the world."
)


def interleave(weight: Array, heads: int) -> Array:
    """Reorder the rows of a query or key matrix from half-split to the adjacent pairs that llama.cpp rotates."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _vocabulary(writer: gguf.GGUFWriter, path: Path) -> None:
    tok = tokenizer.load(path)
    ids = tok.get_vocab()
    tokens = sorted(ids, key=lambda token: ids[token])
    types = [gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    merges = json.loads(path.read_text())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in merges])
    writer.add_bos_token_id(ids["<|begin_of_text|>"])
    writer.add_eos_token_id(ids["<|eot_id|>"])
    writer.add_eot_token_id(ids["<|eot_id|>"])
    writer.add_eom_token_id(ids["<|eom_id|>"])
    writer.add_pad_token_id(ids["<|finetune_right_pad_id|>"])
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT_TEMPLATE)


def _about(writer: gguf.GGUFWriter, shape: Shape, state: dict[str, Any]) -> None:
    pools, steps, tokens, seconds = state["progress"]
    writer.add_name("arriero bundled demonstration model")
    writer.add_description(DESCRIPTION)
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_string("arriero.dialect", "llama3.1")
    writer.add_string("arriero.training.script", "examples/train_bundled_model/train.py")
    writer.add_uint32("arriero.training.seed", state.get("seed", 1))
    writer.add_uint32("arriero.training.steps", steps)
    writer.add_uint64("arriero.training.tokens", tokens)
    writer.add_uint32("arriero.training.minutes", round(seconds / 60))
    writer.add_uint32("arriero.training.pools", pools)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.dim)
    writer.add_feed_forward_length(shape.ff)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def export(folder: Path, target: Path, *, averaged: bool = True) -> None:
    """Write the checkpoint in `folder`, its averaged weights unless told otherwise, as Q8_0."""
    state = torch.load(folder / "checkpoint.pt")
    shape = Shape(**state["shape"])
    weights = {k: v.float().numpy() for k, v in state["average" if averaged else "model"].items()}
    part = target.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "llama")
    _about(writer, shape, state)
    _vocabulary(writer, folder / "tokenizer.json")
    for name, weight in weights.items():
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            weight = interleave(weight, shape.heads if "attn_q" in name else shape.kv_heads)
        if weight.ndim == 2:
            q8 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(weight, q8), raw_dtype=q8)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(target)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where train.py keeps its checkpoint")
    parser.add_argument("target", type=Path)
    parser.add_argument(
        "--last", action="store_true", help="the last weights instead of their running average"
    )
    options = parser.parse_args()
    export(options.folder, options.target, averaged=not options.last)
    print(f"{options.target}: {options.target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
