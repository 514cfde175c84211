"""Trains the bundled model: `python -m examples.train_bundled_model.train --help`.

Every number comes from the seed and the position in the run, so that a run that was stopped and resumed gives the
same weights as one that was not (up to the order of floating-point sums on other machines).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from . import mix, tokenizer, wire
from .model import Decoder, Shape
from .words import Source

VOCABULARY = 1024
SPACED = 200
LONGEST = 1100
POOL = 1024
MICRO_TOKENS = 4096
MICROS = 2
OTHER_SHARE, OTHER_WEIGHT = 0.0, 0.0
COPY_FIRST, COPY_EARLY, COPY_LATER = 3, 0.5, 0.0
EMA = 0.99


@dataclass(frozen=True)
class Document:
    """Token ids with the weight of each in the loss."""

    ids: list[int]
    weights: list[float]

    def steps(self) -> list[tuple[int, int]]:
        """Where each message that the model writes starts and ends."""
        own = [w > 0 for w in self.weights]
        starts = [i for i, now in enumerate(own) if now and not own[i - 1]]
        ends = [i + 1 for i, now in enumerate(own) if now and own[i + 1 : i + 2] != [True]]
        return list(zip(starts, ends, strict=True))


def vocabulary(folder: Path, seed: int) -> Tokenizer:
    """The tokenizer of this run: learned once, then read back."""
    path = folder / "tokenizer.json"
    if not path.exists():
        source = Source(f"{seed}-vocabulary")
        texts = []
        for _ in range(8000):
            texts += wire.runs(*mix.training(source))
            texts.append(mix.copying(source))
        tokenizer.train(texts, VOCABULARY, SPACED).save(str(path))
    return tokenizer.load(path)


def encode(tok: Tokenizer, pieces: list[wire.Piece]) -> Document:
    """Join pieces into one document; only what the model writes counts fully."""
    ids: list[int] = []
    weights: list[float] = []
    for piece in pieces:
        new = [tok.token_to_id(piece.text)] if piece.special else tok.encode(piece.text).ids
        ids += new
        weights += [1.0 if piece.own else 0.0] * len(new)
    return Document(ids, weights)


def copy_pieces(source: Source) -> list[wire.Piece]:
    """A text and the same again in other dress, which the model has to write."""
    first, _, second = mix.copying(source).partition("\n")
    return [
        wire.Piece("<|begin_of_text|>", True, False),
        wire.Piece(first + "\n", False, False),
        wire.Piece(second, False, True),
        wire.Piece("<|eot_id|>", True, True),
    ]


def pool(tok: Tokenizer, seed: int, index: int) -> list[tuple[Tensor, Tensor]]:
    """The batches of one pool of dialogues, each of similar lengths, in random order."""
    source = Source(f"{seed}-pool-{index}")
    copy = COPY_EARLY if index < COPY_FIRST else COPY_LATER
    documents: list[Document] = []
    while len(documents) < POOL:
        if source.chance(copy):
            document = encode(tok, copy_pieces(source))
        else:
            document = encode(tok, wire.pieces(*mix.training(source)))
        if len(document.ids) <= LONGEST:
            documents.append(document)
    documents.sort(key=lambda d: len(d.ids))
    batches = []
    while documents:
        longest = len(documents[-1].ids)
        rows = max(1, MICRO_TOKENS // longest)
        batches.append(_collate(tok, documents[-rows:], source.rng))
        del documents[-rows:]
    source.rng.shuffle(batches)
    return batches


def _collate(tok: Tokenizer, documents: list[Document], rng: random.Random) -> tuple[Tensor, Tensor]:
    longest = max(len(d.ids) for d in documents)
    pad = tok.token_to_id("<|finetune_right_pad_id|>")
    ids = torch.full((len(documents), longest), pad)
    weights = torch.zeros(len(documents), longest)
    for row, d in enumerate(documents):
        ids[row, : len(d.ids)] = torch.tensor(d.ids)
        loss = [w or (OTHER_WEIGHT if rng.random() < OTHER_SHARE else 0.0) for w in d.weights]
        weights[row, : len(d.ids)] = torch.tensor(loss)
    return ids, weights


def loss_of(model: Decoder, ids: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the cross-entropy over the positions that count."""
    target, weight = ids[:, 1:], weights[:, 1:]
    counted = weight > 0
    with torch.autocast("cpu", torch.bfloat16):
        scores = model.logits(model(ids[:, :-1])[counted])
    return (F.cross_entropy(scores.float(), target[counted], reduction="none") * weight[counted]).sum()


def score(model: Decoder, tok: Tokenizer, per_skill: int, *, held_out: bool = True) -> dict[str, float]:
    """Share of the steps that greedy decoding gets exactly right, per skill, given the history before each."""
    model.eval()
    out = {}
    for skill in mix.SKILLS:
        source = Source(f"score-{skill}", held_out=held_out)
        right = total = 0
        for _ in range(per_skill):
            document = encode(tok, wire.pieces(*mix.dialogue(source, skill)))
            ids = torch.tensor(document.ids)[None]
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                best = model.logits(model(ids[:, :-1]))[0].argmax(-1).tolist()
            for start, end in document.steps():
                right += best[start - 1 : end - 1] == document.ids[start:end]
                total += 1
        out[skill] = right / total
    model.train()
    return out


class Trainer:
    """Model, its running average, optimisers and the place in the run."""

    def __init__(self, folder: Path, seed: int, shape: Shape, muon_lr: float, adam_lr: float) -> None:
        torch.manual_seed(seed)
        self.folder, self.seed = folder, seed
        self.tok = vocabulary(folder, seed)
        self.pad = self.tok.token_to_id("<|finetune_right_pad_id|>")
        self.model = Decoder(shape)
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        matrices = [p for n, p in self.model.named_parameters() if p.dim() == 2 and n.startswith("blk")]
        rest = [p for n, p in self.model.named_parameters() if not (p.dim() == 2 and n.startswith("blk"))]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=muon_lr, weight_decay=0.01, momentum=0.95),
            torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.rates = [muon_lr, adam_lr]
        self.pools = self.steps = self.tokens = 0
        self.trained_seconds = 0.0

    def state(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            "shape": self.model.shape.as_dict(),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "progress": [self.pools, self.steps, self.tokens, self.trained_seconds],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.pools, self.steps, self.tokens, self.trained_seconds = state["progress"]

    def step(self, batches: list[tuple[Tensor, Tensor]], factor: float) -> float:
        """One update from several batches, which the processes share out; returns the mean loss."""
        norm = sum(float(w[:, 1:].sum()) for _, w in batches)
        self.tokens += sum(int((ids != self.pad).sum()) for ids, _ in batches)
        total = torch.zeros(1)
        for ids, weights in batches[dist.get_rank() :: dist.get_world_size()]:
            loss = loss_of(self.model, ids, weights) / norm
            torch.autograd.backward(loss)
            total += loss.detach()
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.model.parameters()]
        flat = torch.cat([total, *(g.flatten() for g in gradients)])
        dist.all_reduce(flat)
        at = 1
        for parameter in self.model.parameters():
            parameter.grad = flat[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        warm = min(1.0, (self.steps + 1) / 60)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * warm * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        keep = min(EMA, (self.steps + 1) / (self.steps + 20))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)
        return float(flat[0])

    def averaged(self) -> Decoder:
        """A copy of the model that has the averaged weights."""
        out = Decoder(self.model.shape)
        out.load_state_dict(self.average)
        return out

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        part = self.folder / "checkpoint.part"
        torch.save(self.state(), part)
        part.replace(self.folder / "checkpoint.pt")


def _cool(pools: int, until: int, cooling: int) -> float:
    """Constant, then a straight line down to nothing over the last `cooling` pools."""
    return max(0.02, min(1.0, (until - pools) / max(1, cooling)))


def run(trainer: Trainer, until: int, cooling: int, every: int) -> None:
    """Train up to pool number `until`, with checkpoints and scores on the way."""
    recent: list[float] = []
    start = time.monotonic() - trainer.trained_seconds
    while trainer.pools < until:
        batches = pool(trainer.tok, trainer.seed, trainer.pools)
        for i in range(0, len(batches) - len(batches) % MICROS, MICROS):
            recent.append(trainer.step(batches[i : i + MICROS], _cool(trainer.pools, until, cooling)))
        trainer.pools += 1
        trainer.trained_seconds = time.monotonic() - start
        mean = math.fsum(recent) / len(recent)
        recent.clear()
        if dist.get_rank():
            continue
        speed = trainer.tokens / trainer.trained_seconds
        print(f"pool {trainer.pools} step {trainer.steps} tokens {trainer.tokens / 1e6:.2f}M loss {mean:.4f} "
              f"{trainer.trained_seconds / 60:.1f} min {speed:.0f} tok/s", flush=True)  # fmt: skip
        if trainer.pools % every == 0 or trainer.pools >= until:
            trainer.save()
            told = score(trainer.averaged(), trainer.tok, 8)
            print("  " + " ".join(f"{k} {v:.2f}" for k, v in told.items()), flush=True)


def work(rank: int, options: argparse.Namespace) -> None:
    """One of the processes that train together; they hold the same weights at every step."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{options.folder.resolve()}/meeting",
        rank=rank,
        world_size=options.processes,
    )
    shape = Shape(**{"vocab": VOCABULARY, **options.shape})
    trainer = Trainer(options.folder, options.seed, shape, options.muon_lr, options.adam_lr)
    checkpoint = options.folder / "checkpoint.pt"
    if checkpoint.exists():
        trainer.restore(torch.load(checkpoint))
    if rank == 0:
        print(f"{sum(p.numel() for p in trainer.model.parameters()):,} parameters", flush=True)
    run(trainer, options.pools, options.cooling, options.every)
    dist.destroy_process_group()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="where the tokenizer and the checkpoint are kept; resumes if there"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--pools", type=int, default=200, help=f"length of the run, in pools of {POOL} dialogues"
    )
    parser.add_argument(
        "--cooling", type=int, default=150, help="pools over which the learning rate falls at the end"
    )
    parser.add_argument("--every", type=int, default=4, help="pools between checkpoints")
    parser.add_argument("--processes", type=int, default=2, help="one per core, one thread each")
    parser.add_argument("--muon-lr", type=float, default=0.012)
    parser.add_argument("--adam-lr", type=float, default=0.0025)
    parser.add_argument(
        "--shape", type=json.loads, default={}, help="sizes that differ from the default, as JSON"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    vocabulary(options.folder, options.seed)
    (options.folder / "meeting").unlink(missing_ok=True)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(work, (options,), nprocs=options.processes)


if __name__ == "__main__":
    main()
