"""How fast Prompt Guard reads beside the loop that Meta's code scores with; prints one line of JSON.

Run it as ``python tests/bench/prompt_guard.py [--full]``. A classifier with random weights and the width of Llama
Prompt Guard 2 22M (4 of its 12 layers; ``--full``: all) reads a long text in windows of 512 tokens: ours on ONNX
Runtime, with windows that overlap by half; then llama-cookbook's loop, which cuts the tokens in slices without an
overlap, writes each as text, and asks transformers about batches of 16. Both have one thread; times are processor
time from the text to the score, the best of several in turns.

``ratio`` is our windows per second by theirs; ``holds`` wants at least 1. Where torch and transformers are
not installed only ours is measured, and ``holds`` says nothing of the ratio.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from arriero.safety.prompt_guard import PromptGuard
from arriero.safety.prompt_guard.text import WINDOW

sys.path.insert(0, str(Path(__file__).parents[2]))  # the repository: its tests hold the writer

from tests.safety.prompt_guard.tiny_deberta import WORDS, Shape, random_weights, write_folder, write_tokenizer

LABELS, THREADS, THEIR_BATCH, REPEATS = 2, 1, 16, 2
TOKENS = 2_040
LEAST_RATIO = 1.0


def main() -> int:
    """Measure both, print what they do a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all layers; a minute or two")
    figures = measure(full=parser.parse_args().full)
    print(json.dumps(figures))
    return 0 if figures["holds"] else 1


def measure(*, full: bool = False) -> dict[str, Any]:
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vocabulary = write_tokenizer(folder / "tokenizer.json").get_vocab_size()
        shape = Shape(width=384, inner=1536, heads=6, layers=12 if full else 4, buckets=256)
        write_folder(
            folder, random_weights(vocabulary, LABELS, np.random.default_rng(0), shape), LABELS, shape
        )
        return _compared(folder, shape)


def _compared(folder: Path, shape: Shape) -> dict[str, Any]:
    guard = PromptGuard(folder, threads=THREADS, self_test=False)
    words = WORDS.split()
    text = " ".join(words[index * index % len(words)] for index in range(TOKENS))
    read = {"ours": lambda: guard.score(text).windows}
    if find_spec("torch") and find_spec("transformers"):
        read["theirs"] = _their_loop(folder, text)
    speed = dict.fromkeys(read, 0.0)
    for _ in range(REPEATS):
        for whose, score in read.items():
            started = time.process_time()
            windows = score()
            speed[whose] = max(speed[whose], windows / (time.process_time() - started))
    figures: dict[str, Any] = {"layers": shape.layers, "windows_a_second": round(speed["ours"], 2)}
    if "theirs" not in speed:
        return figures | {"reference": "skipped: torch and transformers are not installed", "holds": True}
    ratio = speed["ours"] / speed["theirs"]
    figures |= {"reference_windows_a_second": round(speed["theirs"], 2), "ratio": round(ratio, 2)}
    return figures | {"holds": ratio >= LEAST_RATIO}


def _their_loop(folder: Path, text: str) -> Callable[[], int]:
    """Meta's way, which returns how many slices it has scored."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(THREADS)
    file = str(folder / "tokenizer.json")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=file, pad_token="[PAD]")
    model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()

    def score() -> int:
        ids = tokenizer.encode(text, add_special_tokens=False)
        slices = [tokenizer.decode(ids[start : start + WINDOW]) for start in range(0, len(ids), WINDOW)]
        scores: list[float] = []
        for start in range(0, len(slices), THEIR_BATCH):
            batch = slices[start : start + THEIR_BATCH]
            inputs = tokenizer(batch, return_tensors="pt", padding=True, truncation=True, max_length=WINDOW)
            with torch.no_grad():
                logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
            scores += torch.softmax(logits, dim=-1)[:, 1].tolist()
        return len(scores)

    return score


if __name__ == "__main__":
    sys.exit(main())
