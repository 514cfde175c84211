"""The byte-level BPE vocabulary: small, so that every token is seen often, and made for copying.

Words are split the same way wherever they stand: no merge joins a letter with what is in front of it, except a space
with the most frequent whole words. Digits are never merged. The splitting expression is the one that llama.cpp uses
for `llama-bpe` (the Llama 3 tokenizer).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from .wire import SPECIAL

_LLAMA_BPE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LETTERS_APART = r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPACE = "Ġ"


def _splitter(expression: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(expression), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def train(texts: Iterable[str], size: int, spaced: int) -> Tokenizer:
    """Learn a vocabulary of `size` tokens, control tokens included, `spaced` of them words with a space in front."""
    corpus = list(texts)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = _splitter(_LETTERS_APART)
    learner.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=size - spaced - len(SPECIAL),
            initial_alphabet=alphabet,
            special_tokens=[],
            show_progress=False,
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    known = {a + b for a, b in merges}
    words: Counter[str] = Counter(w for text in corpus for w in text.split(" ")[1:])
    frequent = [w for w, _ in words.most_common() if w in known and w.isalpha() and w.isascii()][:spaced]
    merges += [(_SPACE, w) for w in frequent]
    tokens = alphabet + [a + b for a, b in merges]
    return build(list(dict.fromkeys(tokens)), merges)


def build(tokens: list[str], merges: list[tuple[str, ...]]) -> Tokenizer:
    """The tokenizer of a vocabulary without control tokens, which follow after it."""
    out = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    out.pre_tokenizer = _splitter(_LLAMA_BPE)
    out.decoder = decoders.ByteLevel()
    out.add_special_tokens(list(SPECIAL))
    return out


def load(path: Path) -> Tokenizer:
    """A vocabulary written by `Tokenizer.save`."""
    return Tokenizer.from_file(str(path))
