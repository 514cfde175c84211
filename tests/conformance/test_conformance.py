"""All vectors of the repository, and the larger public set where it is at hand."""

import gzip
import json
from pathlib import Path

import check
import pytest
from compare import INJECTION, compare, compare_ids, first_difference, forge

from arriero.prompts import Segment

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.jsonl"))
PUBLIC = Path(__file__).parents[3] / "shared" / "evals" / "data" / "chat_template" / "golden_dev.jsonl.gz"


@pytest.fixture(scope="module")
def encode():
    if not check.VOCABULARY.exists():
        return None
    return check.load_encoder(check.VOCABULARY)


def failures(tallies):
    return [
        failure for tally in tallies.values() if not tally.fine for failure in (tally.failures or [tallies])
    ]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_vector_that_must_pass_does(path):
    assert failures(check.check_rows(check.read_rows(path), None)) == []


@pytest.mark.parametrize(
    "path", [p for p in VECTORS if p.stem.startswith(("golden", "guard"))], ids=lambda p: p.stem
)
def test_token_ids(path, encode):
    if encode is None:
        pytest.skip("no Llama 3.1 vocabulary beside the project's root")
    tallies = check.check_rows(check.read_rows(path), encode)
    assert failures(tallies) == []
    assert any(INJECTION in tally.deviations for tally in tallies.values())


def test_published_templates_on_public_conversations():
    if not PUBLIC.exists():
        pytest.skip("the public chat-template prompts are not beside the project's root")
    assert failures(check.check_rows(check.read_rows(PUBLIC), None)) == []


def characters(segments):
    """A made-up vocabulary: a letter is its code point, a control token one id above those of letters."""
    return [
        id_
        for segment in segments
        for id_ in (
            [2_000_000 + len(segment.text)]
            if segment.special
            else [ord(letter) % 100_000 for letter in segment.text]
        )
    ]


BOS = Segment("<|begin_of_text|>", special=True)


def test_an_injected_control_token_is_the_one_difference_that_passes():
    ours = [BOS, Segment("a<|eot_id|>b")]
    theirs = characters([BOS, Segment("a"), Segment("<|eot_id|>", special=True), Segment("b")])
    assert compare_ids(ours, theirs, characters).deviation == INJECTION
    assert compare_ids(ours, [*theirs, 7], characters).problem is not None


def test_a_control_token_of_ours_that_no_template_wrote_fails():
    def unsafe(segments):
        return characters(forge(segments))

    ours = [BOS, Segment("a<|eot_id|>b")]
    assert "control token" in str(compare_ids(ours, [1], unsafe).problem)


def test_a_kept_aside_text_is_compared_by_its_hash():
    row = {"sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}
    assert compare(row, [Segment("a")], None).problem is None
    assert "SHA-256" in str(compare(row, [Segment("b")], None).problem)


def test_first_difference_says_where_and_what():
    assert first_difference("abcd", "abXd") == "from 2 on: expected 'Xd', got 'cd'"
    assert first_difference("ab", "abc") == "from 2 on: expected 'c', got ''"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no vectors"),
        (b"[1]\n", "holds no vectors"),
        (b"{\n", "Expecting"),
        (b"\xff\n", "invalid start byte"),
        (b'{"id": "x"}\n', "no known shape"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, capsys, content, message):
    path = tmp_path / "vectors.jsonl"
    path.write_bytes(content)
    assert check.main([str(path)]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_file_or_vocabulary_is_named(tmp_path, capsys):
    assert check.main([str(tmp_path / "none.jsonl")]) == 2
    assert check.main(["--vocab", str(tmp_path / "none.gguf"), str(VECTORS[0])]) == 2
    assert capsys.readouterr().err.count("none") >= 2


def line(**changes):
    row = next(row for row in check.read_rows(VECTORS[0]) if row["renderer_key"] == "hf-3.1")
    return {**row, **changes}


def write(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


def test_a_failing_line_is_listed_and_fails_the_run(tmp_path, capsys):
    path = write(tmp_path / "wrong.jsonl.gz", [line(), line(id="wrong", expected_text="else")])
    assert check.main(["-v", path]) == 1
    printed = capsys.readouterr().out
    assert "1 of 2" in printed
    assert "wrong (plain.user_only): text differs" in printed


def test_a_line_that_crashes_fails_alone(tmp_path, capsys):
    path = write(tmp_path / "broken.jsonl.gz", [line(id="broken", input={}), line()])
    assert check.main(["-v", path]) == 1
    assert "crashed: KeyError" in capsys.readouterr().out


def test_a_renderer_that_is_not_claimed_is_reported_and_not_required(tmp_path, capsys):
    path = write(tmp_path / "other.jsonl.gz", [line(renderer_key="other"), line()])
    assert check.main(["-v", path]) == 0
    assert "open golden other" in capsys.readouterr().out


def test_an_error_of_the_reference_must_be_an_error_of_ours(tmp_path):
    path = write(tmp_path / "error.jsonl.gz", [line(expected_error="TemplateError: no")])
    assert check.main([path]) == 1
