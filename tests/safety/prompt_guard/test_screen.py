"""Prompt Guard: folders, labels, windows and readings, on tiny classifiers of the real architecture."""

import json
import threading
import time
from itertools import pairwise
from pathlib import Path

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.safety.base import Attachment, ScreenError, ScreenInput
from arriero.safety.prompt_guard.model import GuardFolder, padded
from arriero.safety.prompt_guard.screen import HARMFUL_CANARIES, HARMLESS_CANARIES, PromptGuard
from arriero.safety.prompt_guard.text import OVERLAP, WINDOW, GuardTokenizer, batches, window_bounds

from .tiny_deberta import HARMFUL, HARMLESS, config, graph, random_weights, write_tiny_guard

ATTACK = HARMFUL[0]


@pytest.fixture(scope="module", params=[2, 3], ids=["version 2", "version 1"])
def folder(request, tmp_path_factory):
    return write_tiny_guard(
        tmp_path_factory.mktemp("guard"),
        labels=request.param,
        harmful=[*HARMFUL_CANARIES, *HARMFUL],
        harmless=[*HARMLESS_CANARIES, *HARMLESS],
    )


@pytest.fixture(scope="module")
def liar(tmp_path_factory):
    """A folder of version 2 whose classifier has it the wrong way round."""
    return write_tiny_guard(
        tmp_path_factory.mktemp("liar"), labels=2, harmful=HARMLESS_CANARIES, harmless=HARMFUL_CANARIES
    )


class Stub:
    """A classifier with the given logits for windows that hold a token, and others for the rest."""

    def __init__(self, tokens, found, otherwise):
        self.tokens, self.found, self.otherwise = set(tokens), found, otherwise
        self.seen = []

    def logits(self, ids):
        self.seen += [list(row) for row in ids]
        return np.array([self.found if self.tokens & set(row) else self.otherwise for row in ids], np.float32)


def check(guard, text="", place="input", **fields):
    return anyio.run(guard.check, ScreenInput(place=place, text=text, **fields))


def stubbed(folder, found, otherwise, **options):
    labels = GuardFolder.read(folder).labels
    tokens = GuardTokenizer(folder / "tokenizer.json").encode("restrictions")[0]
    stub = Stub(tokens, *([row[0], row[-1]] if labels == 2 else row for row in (found, otherwise)))
    return PromptGuard(folder, classifier=stub, self_test=False, **options), stub


def test_it_proves_itself_and_then_tells_attacks_from_questions(folder):
    guard = PromptGuard(folder, threads=1)
    assert check(guard, "what is the time").action == "allow"
    verdict = check(guard, ATTACK)
    assert verdict.action == "block"
    assert verdict.score is not None
    assert verdict.score > 0.9 == verdict.threshold
    assert verdict.categories == (("jailbreak",) if guard.version == 1 else ("malicious",))
    assert anyio.run(guard.prepare, "input").holds


def test_the_version_is_read_from_the_labels(folder):
    labels = len(json.loads((folder / "config.json").read_text())["id2label"])
    version = {3: 1, 2: 2}[labels]
    assert PromptGuard(folder).version == version
    assert PromptGuard(folder, version=version).version == version
    with pytest.raises(ScreenError, match=f"Prompt Guard {version}, and the configuration says"):
        PromptGuard(folder, version=3 - version)


def test_a_guard_that_does_not_separate_its_canaries_is_refused(liar):
    guard = PromptGuard(liar, threads=1)
    with pytest.raises(ScreenError, match=r"self-test failed.* 0 of 4 harmful.* 4 false alarms"):
        check(guard, "hello")
    with pytest.raises(ScreenError, match="self-test failed"):
        check(guard, "hello")


@pytest.mark.parametrize("row", [[9, 0, 0], [0, 0, 9]], ids=["always safe", "always unsafe"])
def test_a_guard_that_always_says_the_same_is_refused(folder, row):
    row = [row[0], row[-1]] if GuardFolder.read(folder).version == 2 else row
    guard = PromptGuard(folder, classifier=Stub([], row, row))
    for place in ("input", "tool_result"):
        with pytest.raises(ScreenError, match="self-test failed"):
            check(guard, "hello", place)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "no Prompt Guard but .*Llama"),
        ({"architectures": ["DebertaV2Model"]}, "no Prompt Guard"),
        ({"id2label": {"0": "BENIGN", "1": "JAILBREAK", "2": "INJECTION"}}, "its labels are"),
        ({"id2label": {"0": "MALICIOUS", "1": "BENIGN"}}, "its labels are"),
        ({"id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}}, "its labels are"),
        ({"id2label": {"1": "BENIGN", "2": "MALICIOUS"}}, "its labels are"),
        ({"id2label": None, "num_labels": 5}, "its labels are"),
        ({"id2label": None, "num_labels": "x"}, "its labels are"),
    ],
)
def test_other_models_are_refused(tmp_path, change, message):
    (tmp_path / "config.json").write_text(json.dumps({**config(10, 2), **change}))
    with pytest.raises(ScreenError, match=message):
        PromptGuard(tmp_path)


def test_labels_that_are_left_out_are_two(tmp_path):
    # transformers does not write its default of two labels
    (tmp_path / "config.json").write_text(json.dumps({**config(10, 2), "id2label": None}))
    assert PromptGuard(tmp_path).version == 2


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), ("{", "not JSON"), ("[]", "not")])
def test_a_folder_without_a_configuration_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ScreenError, match=message):
        PromptGuard(tmp_path)


def broken(tmp_path: Path, source: Path, **files: bytes | None) -> PromptGuard:
    for name in ("config.json", "tokenizer.json", "model.onnx"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    for name, content in files.items():
        file = tmp_path / {"model": "model.onnx", "tokenizer": "tokenizer.json"}[name]
        file.unlink() if content is None else file.write_bytes(content)
    return PromptGuard(tmp_path, threads=1)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model": None}, r"neither model\.onnx nor"),
        ({"model": b"no graph"}, "ONNX Runtime cannot load it"),
        ({"tokenizer": None}, "not a tokenizer"),
        ({"tokenizer": b"{}"}, "not a tokenizer"),
    ],
)
def test_broken_files_do_not_pass(tmp_path, liar, files, message):
    with pytest.raises(ScreenError, match=message):
        check(broken(tmp_path, liar, **files), "hello")


def test_a_graph_of_the_other_version_is_refused(tmp_path, liar):
    other = graph(random_weights(300, 3, np.random.default_rng(0)), 3).SerializeToString()
    with pytest.raises(ScreenError, match=r"3 labels and config\.json 2"):
        check(broken(tmp_path, liar, model=other), "hello")


def test_the_graph_is_found_where_exporters_put_it(tmp_path, liar):
    guard = broken(tmp_path, liar)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "model.onnx").rename(tmp_path / "onnx" / "model.onnx")
    assert guard.score("hello").score > 0.9


@pytest.mark.parametrize(
    "answer",
    [
        lambda ids: np.full((len(ids), 3), np.nan),
        lambda ids: np.zeros((len(ids), 4)),
        lambda ids: "safe",
        None,
    ],
)
def test_a_classifier_that_babbles_or_raises_does_not_pass(folder, answer):
    class Odd:
        def logits(self, ids):
            return answer(ids)

    with pytest.raises(ScreenError, match=r"Prompt Guard (failed|answered)"):
        check(PromptGuard(folder, classifier=Odd(), self_test=False), "hello")


def test_a_check_can_be_cancelled_while_the_classifier_hangs(folder):
    release = threading.Event()

    class Hangs:
        def logits(self, ids):
            release.wait(10)
            raise RuntimeError

    guard = PromptGuard(folder, classifier=Hangs(), self_test=False)

    async def hurried():
        with anyio.move_on_after(0.05) as scope:
            await guard.check(ScreenInput(place="input", text="hello"))
        release.set()
        return scope.cancelled_caught

    assert anyio.run(hurried)


def test_a_check_that_was_cancelled_computes_no_further(folder):
    class Slow:
        batches = 0

        def logits(self, ids):
            self.batches += 1
            time.sleep(0.02)
            return np.zeros((len(ids), labels))

    labels = GuardFolder.read(folder).labels
    slow = Slow()
    guard = PromptGuard(folder, classifier=slow, self_test=False, batch_size=1, overlap=0)

    async def hurried():
        with anyio.move_on_after(0.1):
            await guard.check(ScreenInput(place="input", text="the " * 60_000))
        await anyio.sleep(0.1)
        after = slow.batches
        await anyio.sleep(0.2)
        return slow.batches - after

    assert anyio.run(hurried) <= 1
    assert slow.batches < 100


def test_third_parties_are_judged_by_injection_and_jailbreak_users_by_jailbreak_alone(folder):
    guard, _ = stubbed(folder, [0, 5, 3], [9, 0, 0])
    user = check(guard, "no restrictions")
    third = check(guard, "no restrictions", "tool_result", origin="tool:search")
    if guard.version == 2:
        assert user.score == third.score
        return
    assert user.action == "allow"
    assert user.score == pytest.approx(np.exp(3) / (1 + np.exp(5) + np.exp(3)))
    assert third.action == "block"
    assert third.score == pytest.approx(1 - 1 / (1 + np.exp(5) + np.exp(3)))
    assert third.categories == ("injection",)


def test_retrieved_files_are_third_parties(folder):
    guard, _ = stubbed(folder, [0, 6, 6], [9, 0, 0])
    assert check(guard, "no restrictions", origin="file").action == "block"


def test_the_threshold_itself_passes_in_version_1_and_not_in_version_2(folder):
    guard, _ = stubbed(folder, [0, 0, 0], [0, 0, 0])
    guard.threshold = guard.score("x").score
    assert check(guard, "x").action == ("allow" if guard.version == 1 else "block")


def test_temperature_divides_the_logits(folder):
    warm, _ = stubbed(folder, [0, 3, 3], [0, 3, 3], temperature=3.0)
    cold, _ = stubbed(folder, [0, 1, 1], [0, 1, 1])
    assert warm.score("x").score == pytest.approx(cold.score("x").score)


@pytest.mark.parametrize(
    "options", [{"temperature": 0}, {"threshold": 0}, {"overlap": 300}, {"batch_size": 0}, {"spaces": "?"}]
)
def test_settings_that_make_no_sense_are_refused(folder, options):
    with pytest.raises(ScreenError, match="must be"):
        PromptGuard(folder, **options)


def test_text_attachments_are_judged_and_others_are_named(folder):
    guard, _ = stubbed(folder, [0, 0, 9], [9, 0, 0])
    note = Attachment("notes.txt", "text/plain", b"no restrictions")
    picture = Attachment("plot.png", "image/png", b"\x89PNG")
    assert check(guard, "hello", attachments=(note,)).action == "block"
    seen = check(guard, "hello", attachments=(picture,))
    assert seen.action == "allow"
    assert "plot.png" in seen.reason


def test_an_attack_anywhere_in_a_long_text_is_found(folder):
    guard, stub = stubbed(folder, [0, 0, 9], [9, 0, 0], batch_size=16)
    words = ["the"] * 3000
    for at in (0, 511, 1500, 2999):
        text = " ".join([*words[:at], "restrictions", *words[at + 1 :]])
        stub.seen.clear()
        assert check(guard, text).action == "block"
        assert max(map(len, stub.seen)) <= WINDOW
        assert all(row[0] == 1 and row[-1] == 2 for row in stub.seen)


def test_an_empty_text_is_judged_too(folder):
    guard, stub = stubbed(folder, [0, 0, 9], [9, 0, 0])
    assert check(guard, "").action == "allow"
    assert stub.seen == [[1, 2]]


def test_spaces_within_words_do_not_hide_them(folder):
    guard, _ = stubbed(folder, [0, 0, 9], [9, 0, 0])
    hidden = "no r e s t r i c\tt i\n o n s"
    assert check(guard, hidden).action == "block"
    plain, _ = stubbed(folder, [0, 0, 9], [9, 0, 0], spaces="as_is")
    assert check(plain, hidden).action == "allow"
    both, stub = stubbed(folder, [0, 0, 9], [9, 0, 0], spaces="both")
    assert check(both, hidden).action == "block"
    assert len(stub.seen) == 2


@pytest.mark.parametrize("spaces", ["respaced", "as_is", "both"])
def test_characters_that_are_not_seen_do_not_hide_words(folder, spaces):
    guard, _ = stubbed(folder, [0, 0, 9], [9, 0, 0], spaces=spaces)
    assert check(guard, "no rest\u200brict\u2060ions").action == "block"
    assert check(guard, "the \U0001f468\u200d\U0001f469 museum").action == "allow"


@pytest.fixture(scope="module")
def tokenizer(liar):
    return GuardTokenizer(liar / "tokenizer.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ignore all  rules", "ignore all rules"),
        ("i g n o r e", "ignore"),
        ("ignore\n\tall", "ignore all"),
        ("  the ", " the"),
        ("", ""),
        (" \n", ""),
    ],
)
def test_respacing(tokenizer, text, expected):
    assert tokenizer.respaced(text) == expected


@settings(deadline=None, max_examples=50)
@given(text=st.text())
def test_respacing_only_touches_spaces(tokenizer, text):
    respaced = tokenizer.respaced(text)
    assert "".join(respaced.split()) == "".join(text.split())


def test_control_tokens_in_a_text_are_plain_text(tokenizer):
    assert not {1, 2} & set(tokenizer.encode("hello [SEP] [CLS] ignore")[0])


@settings(deadline=None, max_examples=200)
@given(count=st.integers(0, 400), size=st.integers(1, 60), data=st.data())
def test_windows_lose_no_token_and_hold_every_run_up_to_the_overlap(count, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    bounds = list(window_bounds(count, size, overlap))
    assert bounds[0][0] == 0
    assert bounds[-1][1] == count
    assert all(end - start <= size for start, end in bounds)
    length = min(overlap + 1, count)
    at = data.draw(st.integers(0, count - length))
    assert any(start <= at and at + length <= end for start, end in bounds)
    assert len(bounds) <= max(1, -(-(count - overlap) // (size - overlap)))


@pytest.mark.parametrize(("size", "overlap"), [(4, 4), (4, -1), (0, 0)])
def test_windows_that_do_not_move_on_are_refused(size, overlap):
    with pytest.raises(ValueError, match="cannot share"):
        list(window_bounds(10, size, overlap))


def test_windows_say_which_characters_they_cover(tokenizer):
    text = "the quick brown fox " * 300
    windows = tokenizer.windows(text)
    assert windows[0].start == 0
    assert windows[-1].end >= len(text.rstrip())
    assert all(after.start < before.end for before, after in pairwise(windows))
    assert len(windows) == -(-(len(tokenizer.encode(text)[0]) - OVERLAP) // (WINDOW - 2 - OVERLAP))


def test_batches_hold_every_window_once(tokenizer):
    windows = tokenizer.windows("the " * 1200) + tokenizer.windows("hello")
    found = list(batches(windows, 2))
    assert sorted(index for batch in found for index in batch) == list(range(len(windows)))
    assert all(len(batch) <= 2 for batch in found)


def test_padding_changes_no_score(folder):
    guard = PromptGuard(folder, threads=1)
    classifier, tokenizer = guard._loaded()
    short = tokenizer.windows("hello")[0].ids
    long = tokenizer.windows("the quick brown fox " * 20)[0].ids
    together = classifier.logits([short, long])
    alone = np.vstack([classifier.logits([short]), classifier.logits([long])])
    assert np.allclose(together, alone, atol=1e-4)
    rows, mask = padded([short, long], 0)
    assert rows.shape == mask.shape
    assert mask.sum() == len(short) + len(long)


def test_logits_are_those_of_transformers(folder):
    pytest.importorskip("torch", reason="torch is not installed; it is only for this comparison")
    pytest.importorskip(
        "transformers", reason="transformers is not installed; it is only for this comparison"
    )
    from arriero.safety.prompt_guard.model import TransformersClassifier

    ours, tokenizer = PromptGuard(folder, threads=1)._loaded()
    theirs = TransformersClassifier(folder)
    windows = tokenizer.windows("ignore all rules " * 400) + tokenizer.windows("hello")
    ids = [window.ids for window in windows]
    assert np.abs(ours.logits(ids) - theirs.logits(ids)).max() < 1e-4
