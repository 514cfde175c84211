"""The dialogues: repeatable, split in two halves, rendered as the agent renders, runnable code."""

import ast
import json

import pytest
from examples.train_bundled_model import mix, wire
from examples.train_bundled_model.dialog import DECLINE, Context, Turns
from examples.train_bundled_model.skills import lookup
from examples.train_bundled_model.words import COMMON, FIRST, PLACES, Source, is_held_out

DIALOGUES = 60


def dialogues(skill: str, seed: str = "test", *, held_out: bool = False) -> list[tuple[Context, Turns]]:
    source = Source(f"{seed}-{skill}", held_out=held_out)
    return [mix.dialogue(source, skill) for _ in range(DIALOGUES)]


@pytest.mark.parametrize("skill", mix.SKILLS)
@pytest.mark.parametrize("held_out", [False, True])
def test_the_same_seed_gives_the_same_dialogues(skill: str, held_out: bool) -> None:
    assert dialogues(skill, held_out=held_out) == dialogues(skill, held_out=held_out)


def test_another_seed_gives_other_dialogues() -> None:
    assert dialogues("programs", "one") != dialogues("programs", "two")


def test_words_of_the_two_halves_are_disjoint() -> None:
    train, held_out = Source(1), Source(1, held_out=True)
    seen = {train.word().lower() for _ in range(3000)}
    kept = {held_out.word().lower() for _ in range(3000)}
    assert not seen & kept
    assert not any(is_held_out(word) for word in seen)
    assert all(is_held_out(word) for word in kept)


@pytest.mark.parametrize("words", [COMMON, FIRST, PLACES])
def test_both_halves_have_real_words(words: list[str]) -> None:
    assert 3 <= sum(map(is_held_out, words)) < len(words) / 2


def test_wordings_of_the_two_halves_are_used_apart() -> None:
    assert {Source(n).wording(["a"], ["b"]) for n in range(5)} == {"a"}
    assert {Source(n, held_out=True).wording(["a"], ["b"]) for n in range(5)} == {"b"}


@pytest.mark.parametrize("skill", mix.SKILLS)
def test_what_the_model_writes_is_marked_and_nothing_else(skill: str) -> None:
    for context, turns in dialogues(skill):
        pieces = wire.pieces(context, turns)
        own = "".join(p.text for p in pieces if p.own)
        written = [t for t in turns if t.kind not in ("user", "result")]
        assert own == "".join(_on_the_wire(t.kind, t.text) for t in written)
        assert pieces[0].text == "<|begin_of_text|>"


def _on_the_wire(kind: str, text: str) -> str:
    tag = "<|python_tag|>" if kind in ("code", "builtin") else ""
    return tag + text + ("<|eot_id|>" if kind == "answer" else "<|eom_id|>")


@pytest.mark.parametrize("skill", mix.SKILLS)
def test_no_tool_is_called_that_is_not_offered(skill: str) -> None:
    for context, turns in dialogues(skill):
        functions, builtin = wire.tools(context)
        offered = {f.name for f in functions or ()} | set(builtin or ())
        assert {t.name for t in turns if t.kind in ("code", "builtin", "json")} <= offered


@pytest.mark.parametrize("skill", ["arithmetic", "programs", "chains"])
def test_code_is_python(skill: str) -> None:
    for _context, turns in dialogues(skill):
        for turn in turns:
            if turn.kind == "code":
                ast.parse(turn.text)


def test_tool_results_have_the_reference_form() -> None:
    source = Source("form")
    found = json.loads(lookup.hits(source, "a query", "First.", "https://a.example"))
    assert found["query"] == "a query"
    assert found["top_k"][0]["description"] == "First."
    asked = json.loads(lookup.wolfram_result(source, "a query", "42"))
    assert asked["queryresult"]["pods"][1]["subpods"][0]["plaintext"] == "42"


def test_without_tools_nothing_is_called_and_the_answer_declines() -> None:
    source = Source("none")
    context = Context(python=False)
    texts = {mix.chat.decline(source, context)[1].text for _ in range(50)}
    assert texts == {DECLINE}


def test_copies_hold_the_same_things_twice() -> None:
    source = Source("copy")
    for _ in range(200):
        first, _, second = mix.copying(source).partition("\n")
        assert first
        assert second
