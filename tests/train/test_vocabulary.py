"""The bundled file's vocabulary: llama.cpp splits text as the trainer did."""

from collections.abc import Iterator

import pytest
from examples.train_bundled_model import mix, wire
from examples.train_bundled_model.words import Source

from arriero.agent.backends.vocab import Vocab
from arriero.agent.models import bundled_model

tokenizers = pytest.importorskip("tokenizers", reason="needs the dependency group 'train'")
gguf = pytest.importorskip("gguf", reason="needs the dependency group 'train'")


@pytest.fixture(scope="module")
def vocab() -> Iterator[Vocab]:
    vocab = Vocab.from_gguf(bundled_model())
    yield vocab
    vocab.close()


@pytest.fixture(scope="module")
def trainers() -> "tokenizers.Tokenizer":
    from examples.train_bundled_model import tokenizer

    fields = gguf.GGUFReader(bundled_model()).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    return tokenizer.build(tokens[: -len(wire.SPECIAL)], merges)


def test_llama_cpp_splits_dialogues_as_the_trainer(vocab: Vocab, trainers: "tokenizers.Tokenizer") -> None:
    source = Source("vocabulary", held_out=True)
    texts = {p.text for _ in range(150) for p in wire.pieces(*mix.training(source)) if not p.special}
    assert len(texts) > 300
    assert [t for t in texts if vocab.encode(t) != trainers.encode(t).ids] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n\n  x",
        "don't DON'T",
        "été 北京 \U0001f600",
        "\t\tif x:\n        y = 1000000\n",
        "a" * 500,
        "<b>…</b>",
    ],
)
def test_llama_cpp_splits_odd_text_as_the_trainer(
    text: str, vocab: Vocab, trainers: "tokenizers.Tokenizer"
) -> None:
    assert vocab.encode(text) == trainers.encode(text).ids
    assert b"".join(vocab.piece(i) for i in vocab.encode(text)).decode() == text


def test_every_control_token_has_its_name(vocab: Vocab) -> None:
    ids = [vocab.special(name) for name in wire.SPECIAL]
    assert ids == list(range(vocab.size - len(wire.SPECIAL), vocab.size))
    assert vocab.stop_kind(vocab.special("<|eot_id|>")) == "eot"
    assert vocab.stop_kind(vocab.special("<|eom_id|>")) == "eom"


def test_digits_stand_alone(vocab: Vocab) -> None:
    assert len(vocab.encode("1081")) == 4
