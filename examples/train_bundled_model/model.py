"""The network: a plain Llama decoder, small enough to train on two CPU cores."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; the names follow the GGUF keys of the `llama` architecture."""

    vocab: int = 1024
    dim: int = 192
    layers: int = 6
    heads: int = 6
    kv_heads: int = 6
    ff: int = 512
    context: int = 4096
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.heads

    def as_dict(self) -> dict[str, int | float]:
        """The sizes as plain data, for checkpoints and model metadata."""
        return asdict(self)


class Norm(nn.Module):
    """RMS normalisation with a learned gain."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding in the half-split layout (the GGUF writer permutes it)."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Block(nn.Module):
    """One decoder layer: attention, then a gated feed-forward net."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        s = shape
        self.shape = s
        self.attn_norm = Norm(s.dim, s.norm_eps)
        self.ffn_norm = Norm(s.dim, s.norm_eps)
        kv = s.kv_heads * s.head_dim
        self.attn_q = nn.Linear(s.dim, s.dim, bias=False)
        self.attn_k = nn.Linear(s.dim, kv, bias=False)
        self.attn_v = nn.Linear(s.dim, kv, bias=False)
        self.attn_output = nn.Linear(s.dim, s.dim, bias=False)
        self.ffn_gate = nn.Linear(s.dim, s.ff, bias=False)
        self.ffn_up = nn.Linear(s.dim, s.ff, bias=False)
        self.ffn_down = nn.Linear(s.ff, s.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Apply the layer to `[batch, time, dim]`."""
        s = self.shape
        batch, time, _ = x.shape
        h = self.attn_norm(x)
        q = rotate(self.attn_q(h).view(batch, time, s.heads, s.head_dim).transpose(1, 2), cos, sin)
        k = rotate(self.attn_k(h).view(batch, time, s.kv_heads, s.head_dim).transpose(1, 2), cos, sin)
        v = self.attn_v(h).view(batch, time, s.kv_heads, s.head_dim).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=s.kv_heads != s.heads)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(batch, time, s.dim))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Decoder(nn.Module):
    """The whole network, with the output projection tied to the embedding."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocab, shape.dim)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape.dim, shape.norm_eps)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02 if parameter.shape[0] == shape.vocab else shape.dim**-0.5 / 2)
        half = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
        angle = torch.outer(torch.arange(shape.context).float(), shape.rope_base**-half)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Hidden states `[batch, time, dim]` for token ids; `logits` turns those into scores."""
        x = self.token_embd(ids)
        time = ids.shape[1]
        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
        cos, sin = self.cos[:time].to(dtype), self.sin[:time].to(dtype)
        for block in self.blk:
            x = block(x, cos, sin)
        out: Tensor = self.output_norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary."""
        return F.linear(hidden, self.token_embd.weight)
