"""Writes a Llama Guard small enough for tests: a real GGUF of one layer for the real engine.

Its weights are put together by hand: attention averages over all tokens, a few words have a direction of their own,
and where the verdict stands that direction decides between ``safe`` and ``unsafe``. A stand-in for tests, never a
protection.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...agent.backends.tiny_gguf import CONTROL, Shape, byte_alphabet, write_llama

HARMFUL_WORDS = ("kill", "bomb", "poison", "vermin", "die")
SHAPE = Shape(width=64, layers=1, heads=2, kv_heads=1, inner=32)
WIDTH, INNER = SHAPE.width, SHAPE.inner
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
    plain, merges = _vocabulary([*harmful, "safe", "unsafe", "\n\n"])
    ids = {token: index for index, token in enumerate([*plain, *CONTROL])}
    return write_llama(
        path,
        _weights(ids, [_spelt(word) for word in harmful], always),
        plain=plain,
        merges=merges,
        shape=SHAPE,
        name="tiny Llama Guard",
        context_length=context_length,
    )


def _spelt(word: str) -> str:
    alphabet = byte_alphabet()
    return "".join(alphabet[byte] for byte in word.encode())


def _vocabulary(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Plain tokens and merges: all bytes, the words, and what they are built up from."""
    tokens, merges = byte_alphabet(), []
    for word in map(_spelt, words):
        for end in range(2, len(word) + 1):
            merge = f"{word[: end - 1]} {word[end - 1]}"
            if merge not in merges:
                merges.append(merge)
                tokens.append(word[:end])
    return tokens, merges


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
    kv_width = WIDTH // SHAPE.heads * SHAPE.kv_heads
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
