"""Writes a Llama Guard small enough for tests: a real GGUF of one layer for the real engine.

Its weights are put together by hand: attention averages over all tokens, a few words have a direction of their own,
and where the verdict stands that direction decides between ``safe`` and ``unsafe``. A stand-in for tests, never a
protection.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

CONTROL = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
)  # fmt: skip
HARMFUL_WORDS = ("kill", "bomb", "poison", "vermin", "die")
WIDTH, HEADS, KV_HEADS, INNER = 64, 2, 1, 32
_HARM, _FOUND = 0, 1  # dimensions: of the words, and of what attention finds
_STEPS = 2  # first of the dimensions of the tokens that an answer is made of


def write_tiny_guard(
    path: Path,
    *,
    harmful: Sequence[str] = HARMFUL_WORDS,
    always: str | None = None,
    context_length: int = 8192,
) -> Path:
    """Write a guard that finds texts with one of ``harmful`` unsafe (S1); or one that ``always`` says the same."""
    words = [*harmful, "safe", "unsafe", "\n\n"]
    tokens, merges = _vocabulary(words)
    ids = {token: index for index, token in enumerate(tokens)}
    writer = GGUFWriter(path, "llama")
    _header(writer, context_length, len(tokens))
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    control = [TokenType.CONTROL if token in CONTROL else TokenType.NORMAL for token in tokens]
    writer.add_token_types(control)
    writer.add_bos_token_id(ids["<|begin_of_text|>"])
    writer.add_eos_token_id(ids["<|eot_id|>"])
    for name, array in _weights(ids, [_spelt(word) for word in harmful], always).items():
        writer.add_tensor(name, array.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _alphabet() -> list[str]:
    """GPT-2's printable stand-in for each byte."""
    kept = {*range(33, 127), *range(161, 173), *range(174, 256)}
    moved = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(moved)) for byte in range(256)]


def _spelt(word: str) -> str:
    alphabet = _alphabet()
    return "".join(alphabet[byte] for byte in word.encode())


def _vocabulary(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tokens and merges: all bytes, the words, and what they are built up from."""
    tokens, merges = _alphabet(), []
    for word in map(_spelt, words):
        for end in range(2, len(word) + 1):
            merge = f"{word[: end - 1]} {word[end - 1]}"
            if merge not in merges:
                merges.append(merge)
                tokens.append(word[:end])
    return [*tokens, *CONTROL], merges


def _header(writer: GGUFWriter, context_length: int, n_tokens: int) -> None:
    writer.add_name("tiny Llama Guard")
    writer.add_context_length(context_length)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(n_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_add_bos_token(True)


def _weights(ids: dict[str, int], harmful: Sequence[str], always: str | None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    blank, line = _spelt("\n\n"), _spelt("\n")
    steps = [blank, "<|end_header_id|>", "safe", "unsafe", line, "S", "1"]
    embedding = rng.standard_normal((len(ids), WIDTH))
    embedding[:, : _STEPS + len(steps)] = 0
    for place, token in enumerate(steps, _STEPS):
        embedding[ids[token]] = np.eye(WIDTH)[place]
    for word in harmful:
        embedding[ids[word]] = np.eye(WIDTH)[_HARM]
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    output = np.zeros((len(ids), WIDTH))
    for token, following in (
        ("<|end_header_id|>", blank), ("safe", "<|eot_id|>"), ("unsafe", line), (line, "S"), ("S", "1"),
        ("1", "<|eot_id|>"),
    ):  # fmt: skip
        output[ids[following]] += embedding[ids[token]] * 8
    output[ids["safe"]] += embedding[ids[blank]] * 4.2
    output[ids["unsafe"]] += embedding[ids[blank]] * 4 + np.eye(WIDTH)[_FOUND] * 4
    if always is not None:
        output[ids[always]] += embedding[ids[blank]] * 4
    kv_width = WIDTH // HEADS * KV_HEADS
    value, back = np.zeros((kv_width, WIDTH)), np.zeros((WIDTH, WIDTH))
    value[0, _HARM], back[_FOUND, 0] = 1, 30
    return {
        "token_embd.weight": embedding,
        "output_norm.weight": np.ones(WIDTH),
        "output.weight": output,
        "blk.0.attn_norm.weight": np.ones(WIDTH),
        "blk.0.ffn_norm.weight": np.ones(WIDTH),
        "blk.0.attn_q.weight": np.zeros((WIDTH, WIDTH)),
        "blk.0.attn_k.weight": np.zeros((kv_width, WIDTH)),
        "blk.0.attn_v.weight": value,
        "blk.0.attn_output.weight": back,
        "blk.0.ffn_gate.weight": np.zeros((INNER, WIDTH)),
        "blk.0.ffn_up.weight": np.zeros((INNER, WIDTH)),
        "blk.0.ffn_down.weight": np.zeros((WIDTH, INNER)),
    }
