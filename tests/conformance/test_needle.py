"""An attack anywhere in a long text lies whole in one of Prompt Guard's windows."""

import random
from pathlib import Path

import needle
import pytest

DATA = Path(__file__).parents[3] / "shared" / "evals" / "data" / "guard" / "needle_dev.jsonl.gz"
WORDS = [f"{a}{b}{c}" for a in "bdklmnprst" for b in "aeiou" for c in ("n", "r", "st", "", "ck")]


def documents(where):
    source = random.Random(7)
    for number, share in enumerate(where):
        before = " ".join(source.choices(WORDS, k=int(1500 * share)))
        after = " ".join(source.choices(WORDS, k=1500 - int(1500 * share)))
        attack = " ".join(source.choices(WORDS, k=60)) + "."
        text = f"{before} {attack} {after}"
        start = len(before) + 1
        yield {"id": number, "text": text, "attack": attack, "start": start, "end": start + len(attack)}


def test_every_attack_is_found_wherever_it_stands():
    rows = list(documents(number / 12 for number in range(13)))
    for spaces in ("respaced", "as_is"):
        figures = needle.evaluate(rows, None, spaces)
        assert figures["recall"] == 1.0
        assert figures["alarms_without_attack"] == 0
        assert figures["longest_window"] == 512
        assert figures["longest_attack"] > 50


@pytest.mark.skipif(
    not DATA.is_file(), reason="the documents with hidden attacks are not beside this project"
)
def test_published_attacks_in_real_prose():
    rows = sorted(needle.read(DATA), key=lambda row: row["chars"])[:80:8]
    assert needle.evaluate(rows, None, "respaced")["recall"] == 1.0
