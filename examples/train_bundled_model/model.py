"""The network: a plain Llama decoder, small enough to train on two CPU cores."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUERIES = 128
CONSTANT = 0.1
OFFSETS = (1, 1, 1, 2, 2, 3)


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


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Causal attention, `[batch, head, time, width]`, by blocks of queries.

    On CPU cores in bfloat16 it takes a third to nine tenths of the time of the fused kernel, by length.
    """
    out = []
    size = mask.shape[0]
    q = q * q.shape[-1] ** -0.5
    for start in range(0, q.shape[2], size):
        end = min(q.shape[2], start + size)
        scores = q[:, :, start:end] @ k[:, :, :end].transpose(-1, -2)
        scores[..., start:end] += mask[: end - start, : end - start]
        out.append(torch.softmax(scores, -1, dtype=scores.dtype) @ v[:, :, :end])
    return torch.cat(out, 2)


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

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """Apply the layer to `[batch, time, dim]`."""
        s = self.shape
        batch, time, _ = x.shape
        together = torch.cat((self.attn_q.weight, self.attn_k.weight, self.attn_v.weight))
        h = F.linear(self.attn_norm(x), together).view(batch, time, -1, s.head_dim).transpose(1, 2)
        q, k, v = h.split((s.heads, s.kv_heads, s.kv_heads), 1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if s.kv_heads != s.heads:
            k, v = (t.repeat_interleave(s.heads // s.kv_heads, 1) for t in (k, v))
        mixed = attend(q, k, v, mask).transpose(1, 2).reshape(batch, time, s.dim)
        x = x + self.attn_output(mixed)
        h = F.linear(self.ffn_norm(x), torch.cat((self.ffn_gate.weight, self.ffn_up.weight)))
        gate, up = h.chunk(2, -1)
        return x + self.ffn_down(F.silu(gate) * up)


def _projection(width: int, dim: int) -> Tensor:
    """Orthonormal rows that leave the constant component out."""
    rows = torch.zeros(width, dim)
    nn.init.orthogonal_(rows[:, 1:])
    return rows


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
        self._initialise()
        half = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
        angle = torch.outer(torch.arange(shape.context).float(), shape.rope_base**-half)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def _initialise(self) -> None:
        """Random weights, but for a circuit that copies.

        With rotary embedding few components tell neighbours apart, and a small network takes millions of tokens to
        find heads that look at the token before, without which it cannot copy. So the first layer starts with such
        heads (offsets 1, 1, 1, 2, 2, 3), and half the heads of the second with a match of the current token against
        what stood before, whose follower they write out: an induction circuit (Elhage et al. 2021). Training is
        free to change all of it.
        """
        s = self.shape
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02 if "token_embd" in name else s.dim**-0.5)
        with torch.no_grad():
            self.token_embd.weight[:, 0] = CONSTANT
            for block in self.blk:
                block.attn_output.weight.zero_()
                block.ffn_down.weight.zero_()
            for head, offset in enumerate(OFFSETS[: s.heads]):
                self._look_back(head, offset)
            for head in range(s.heads // 2):
                self._match(head)

    def _look_back(self, head: int, offset: int) -> None:
        first, s, half = self.blk[0], self.shape, self.shape.head_dim // 2
        rows = slice(head * s.head_dim, (head + 1) * s.head_dim)
        q, k = first.attn_q.weight[rows], first.attn_k.weight[rows]
        q.mul_(0.1)
        k.mul_(0.1)
        for pair in range(4):
            angle = offset * s.rope_base ** (-pair / half)
            q[pair, 0] = 1.3 * math.cos(angle)
            q[pair + half, 0] = -1.3 * math.sin(angle)
            k[pair, 0] = 1.3
        first.attn_v.weight[rows] = _projection(s.head_dim, s.dim)
        first.attn_output.weight[:, rows] = 0.05 * _projection(s.head_dim, s.dim).T

    def _match(self, head: int) -> None:
        first, second, s, half = self.blk[0], self.blk[1], self.shape, self.shape.head_dim // 2
        rows = slice(head * s.head_dim, (head + 1) * s.head_dim)
        slow = (torch.arange(s.head_dim) % half >= 5).float()[:, None]
        second.attn_q.weight[rows] = 1.7 * slow * first.attn_v.weight[rows]
        second.attn_k.weight[rows] = 1.7 * slow * first.attn_output.weight[:, rows].T / 0.05
        copied = _projection(s.head_dim, s.dim)
        second.attn_v.weight[rows] = copied
        second.attn_output.weight[:, rows] = 0.1 * copied.T

    def forward(self, ids: Tensor) -> Tensor:
        """Hidden states `[batch, time, dim]` for token ids; `logits` turns those into scores."""
        x = self.token_embd(ids)
        time = ids.shape[1]
        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
        cos, sin = self.cos[:time].to(dtype), self.sin[:time].to(dtype)
        mask = torch.full((QUERIES, QUERIES), -torch.inf, dtype=dtype).triu(1)
        for block in self.blk:
            x = block(x, cos, sin, mask)
        out: Tensor = self.output_norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary."""
        return F.linear(hidden, self.token_embd.weight)
