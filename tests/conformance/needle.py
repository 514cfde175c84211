"""Attacks hidden in long documents, against Prompt Guard's windows: ``needle.py FILE``.

FILE is JSON lines (or .gz) with ``text``, ``attack`` and where the attack stands. The classifier is a stub that flags
a window only if the whole attack lies in it, so that recall measures the windows and nothing else: it must be 1. The
tokenizer is trained on the documents themselves, unless ``--tokenizer`` names a ``tokenizer.json``.
"""

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from arriero.safety.prompt_guard import PromptGuard
from arriero.safety.prompt_guard.text import WINDOW

CONFIG = {
    "architectures": ["DebertaV2ForSequenceClassification"],
    "model_type": "deberta-v2",
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
}


class Stub:
    """Flags the windows that hold all of the attack's characters, spaces apart."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.attack = ""
        self.windows = 0
        self.longest = 0

    def dense(self, ids: Sequence[int]) -> str:
        """The text of tokens without any space."""
        return "".join("".join(self._tokenizer.id_to_token(i) for i in ids).replace("▁", "").split())

    def look_for(self, attack: str) -> int:
        """Set the attack; returns how many tokens it has."""
        ids = self._tokenizer.encode("".join(attack.split()), add_special_tokens=False).ids
        self.attack = self.dense(ids)
        return len(ids)

    def logits(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.windows += len(ids)
        self.longest = max(self.longest, *map(len, ids))
        return np.array([[0.0, 9.0 if self.attack in self.dense(row) else -9.0] for row in ids], np.float32)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines()]


def train(rows: Sequence[dict[str, Any]], file: Path, size: int = 16_000) -> None:
    """A Unigram tokenizer with spaces as ▁, as Prompt Guard's, from a part of the documents."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    characters = sorted({character for row in rows for character in row["text"] if not character.isspace()})
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[CLS]", "[SEP]", "[UNK]"], unk_token="[UNK]",
        initial_alphabet=characters, show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(
        [row["text"][:4000] for row in rows] + [row["attack"] for row in rows], trainer
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(file))


def evaluate(rows: Sequence[dict[str, Any]], tokenizer: Path | None, spaces: str = "both") -> dict[str, Any]:
    """Recall over the rows, windows, and the longest attack in tokens."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        if tokenizer is None:
            train(rows, folder / "tokenizer.json")
        else:
            (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
        stub = Stub(Tokenizer.from_file(str(folder / "tokenizer.json")))
        guard = PromptGuard(folder, classifier=stub, spaces=spaces, batch_size=16)
        missed, longest, alarms = [], 0, 0
        for row in rows:
            longest = max(longest, stub.look_for(row["attack"]))
            if guard.score(row["text"], dialogue=False).score < guard.threshold:
                missed.append(row["id"])
            clean = row["text"][: row["start"]] + row["text"][row["end"] :]
            alarms += guard.score(clean[:6000], dialogue=False).score >= guard.threshold
    found = len(rows) - len(missed)
    return {
        "documents": len(rows),
        "recall": found / len(rows),
        "missed": missed[:20],
        "alarms_without_attack": alarms,
        "windows": stub.windows,
        "longest_window": stub.longest,
        "longest_attack": longest,
        "holds": not missed and stub.longest <= WINDOW,
    }


def main(args: Sequence[str] | None = None) -> int:
    """Command line; the last line printed is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--spaces", choices=["respaced", "as_is", "both"], default="both")
    options = parser.parse_args(args)
    figures = evaluate(read(options.file), options.tokenizer, options.spaces)
    print(json.dumps(figures))
    return 0 if figures["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
