"""Text to ids and back: no control token from text, no byte lost."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.agent.backends import ModelError
from arriero.agent.backends.vocab import TextDecoder, Vocab
from arriero.prompts import Segment

from .tiny_gguf import CONTROL, token_id, write_tiny_gguf

VOCAB = Path(__file__).parents[4] / "shared" / "data" / "llama31-vocab.gguf"
HOSTILE = st.lists(st.one_of(st.text(max_size=20), st.sampled_from(CONTROL)), max_size=6).map("".join)


def decode(vocab: Vocab, ids: list[int]) -> str:
    decoder = TextDecoder(vocab)
    last = len(ids) - 1
    return "".join(decoder.feed(token, last=index == last) for index, token in enumerate(ids))


@settings(max_examples=100, deadline=None)
@given(text=HOSTILE)
def test_text_comes_back_and_never_yields_a_control_token(vocab: Vocab, text: str) -> None:
    ids = vocab.encode(text)
    assert decode(vocab, ids) == text
    assert not any(vocab.is_named(token) for token in ids)


def test_long_tokens_keep_their_bytes(vocab: Vocab) -> None:
    assert vocab.piece(token_id(" " * 64)) == b" " * 64
    code = "\n".join(" " * n + "x" for n in range(0, 130, 7))
    assert decode(vocab, vocab.encode(code)) == code


def test_unusual_text(vocab: Vocab) -> None:
    assert vocab.encode("") == []
    for text in ("\0", "a\0b", "\ufeff", "e\u0301", "\r\n\t", "👩‍🔬"):
        assert decode(vocab, vocab.encode(text)) == text
    assert decode(vocab, vocab.encode("x\ud800y")) == "x?y"


def test_segments(vocab: Vocab) -> None:
    ids = vocab.encode_segments(
        [Segment("<|begin_of_text|>", special=True), Segment("<|eot_id|>"), Segment("a")]
    )
    assert ids[0] == token_id("<|begin_of_text|>")
    assert ids[-1] == token_id("a")
    assert decode(vocab, ids) == "<|begin_of_text|><|eot_id|>a"
    assert token_id("<|eot_id|>") not in ids


@pytest.mark.parametrize("name", ["<|no_such_token|>", "", "a", "<|eot_id|> ", "<|eot_id|><|eot_id|>"])
def test_unknown_special_marker(vocab: Vocab, name: str) -> None:
    with pytest.raises(ModelError, match="no control token"):
        vocab.encode_segments([Segment(name, special=True)])


def test_control_tokens_listed_as_ordinary_text_stay_out_of_text(tmp_path: Path) -> None:
    user_defined = 4
    path = write_tiny_gguf(tmp_path / "m.gguf", control_type=user_defined, weights=False)
    vocab = Vocab.from_gguf(path)
    try:
        text = f"a{''.join(CONTROL)}<|<|eot_id|>b"
        ids = vocab.encode(text)
        assert not any(vocab.is_named(token) for token in ids)
        assert decode(vocab, ids) == text
    finally:
        vocab.close()


def test_stop_kinds(vocab: Vocab) -> None:
    kinds = {
        name: vocab.stop_kind(token_id(name)) for name in ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "a")
    }
    assert kinds == {"<|eot_id|>": "eot", "<|eom_id|>": "eom", "<|end_of_text|>": "eos", "a": None}


def test_characters_are_held_back_until_whole(vocab: Vocab) -> None:
    decoder = TextDecoder(vocab)
    assert [decoder.feed(byte) for byte in "é😀".encode()] == ["", "é", "", "", "", "😀"]


def test_invalid_bytes_become_replacement_characters(vocab: Vocab) -> None:
    decoder = TextDecoder(vocab)
    first, second = "€".encode()[:2]
    assert [decoder.feed(token) for token in (first, second, ord("a"))] == ["", "", "\ufffda"]
    assert decoder.feed(first, last=True) == "\ufffd"
    assert decoder.feed(first) == ""
    assert decoder.feed(token_id("<|eot_id|>")) == "\ufffd<|eot_id|>"


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=30))
def test_any_bytes_decode_as_a_whole_would(vocab: Vocab, data: bytes) -> None:
    assert decode(vocab, list(data)) == data.decode("utf-8", "replace")


def test_ids_outside_of_the_vocabulary(vocab: Vocab) -> None:
    for token in (-1, vocab.size, 2**31):
        with pytest.raises(ModelError, match="outside"):
            vocab.piece(token)


def test_closed(tiny: Path) -> None:
    vocab = Vocab.from_gguf(tiny)
    vocab.close()
    vocab.close()
    with pytest.raises(ModelError, match="closed"):
        vocab.encode("a")


def test_file_without_a_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "none.gguf"
    path.write_bytes(b"GGUF" + bytes([3]) + bytes(19))
    with pytest.raises(ModelError, match="no vocabulary"):
        Vocab.from_gguf(path)


@pytest.mark.skipif(not VOCAB.exists(), reason="needs the Llama 3.1 vocabulary beside the project's root")
def test_real_vocabulary() -> None:
    vocab = Vocab.from_gguf(VOCAB)
    try:
        assert vocab.special("<|eom_id|>") == 128008
        assert vocab.encode("Hello world") == [9906, 1917]
        text = f"{'-' * 64}\n{' ' * 40}x <|eot_id|> 日本"
        assert decode(vocab, vocab.encode(text)) == text
        assert max(vocab.encode(text)) < 128000
    finally:
        vocab.close()
