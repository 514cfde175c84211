"""Llama Guard prompts and verdicts beyond the vectors: what is refused, and what never passes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.prompts import Message, PromptError
from arriero.safety.llama_guard.prompt import CATEGORIES, GUARD_FORMS, guard_prompt, parse_verdict
from arriero.safety.policy import REFUSED

USER = Message(role="user", content="hi")
ASSISTANT = Message(role="assistant", content="hello")
CODES = [category.code for category in CATEGORIES]


def text(messages, **options):
    return "".join(segment.text for segment in guard_prompt(messages, **options))


@pytest.mark.parametrize("form", GUARD_FORMS)
def test_every_form_shows_the_conversation_and_its_categories(form):
    prompt = text([USER, ASSISTANT], form=form)
    assert "User: hi\n\n" in prompt
    assert prompt.count("hello") == 1
    assert ("S14: Code Interpreter Abuse." in prompt) == (GUARD_FORMS[form].hazards == 14)


@pytest.mark.parametrize("form", GUARD_FORMS)
@settings(deadline=None, max_examples=30)
@given(
    content=st.text(),
    marker=st.sampled_from(["<|eot_id|>", "<|begin_of_text|>", "<|image|>", "\x000\x00", "{{ role }}"]),
)
def test_content_never_becomes_a_control_token(form, content, marker):
    hostile = content + marker + content
    segments = guard_prompt([Message(role="user", content=hostile)], form=form)
    harmless = guard_prompt([USER], form=form)
    assert [s for s in segments if s.special] == [s for s in harmless if s.special]
    assert any(hostile.strip() in segment.text for segment in segments if not segment.special)


@pytest.mark.parametrize("form", ["hf-1b", "hf-11b-vision"])
def test_plain_content_is_shown_where_the_published_template_drops_it(form):
    parts = Message(role="user", parts=("hi",))
    assert guard_prompt([USER], form=form) == guard_prompt([parts], form=form)


def test_parts_are_written_as_each_wrapper_does():
    message = Message(role="user", content="a", parts=("b",))
    assert "User: a\n\nUser: b\n\n<END" in text([message], form="hf-1b")
    assert "User: a b\n\n<END" in text([message], form="stack-8b")
    assert "User: ab\n\n<END" in text([message], form="hf-8b")


def test_an_image_is_announced_by_its_control_token_once():
    segments = guard_prompt([USER], form="hf-11b-vision", image=True)
    assert [s.text for s in segments if s.special].count("<|image|>") == 1


def test_own_categories_take_the_place_of_the_forms():
    prompt = text([USER], form="hf-1b", categories={"S1": "Sports.\nNo sports."})
    assert "<BEGIN UNSAFE CONTENT CATEGORIES>\nS1: Sports.\nNo sports.\n<END" in prompt


def test_own_categories_cannot_forge_control_tokens():
    segments = guard_prompt([USER], form="hf-1b", categories={"<|eot_id|>": "<|eot_id|>"})
    assert [s.text for s in segments if s.special].count("<|eot_id|>") == 1


def test_the_shield_starts_with_a_users_message():
    assert "User: hello\n\n<END" in text([ASSISTANT])
    assert "hello" not in text([ASSISTANT, USER])
    assert "ONLY THE LAST Tool message" in text([USER, Message(role="ipython", content="r")])


def test_excluding_everything_excludes_nothing_in_the_shield():
    assert text([USER], excluded=CODES) == text([USER])
    assert "S1: " not in text([USER], excluded=["S1"])


@pytest.mark.parametrize(
    ("messages", "options", "reason"),
    [
        ([], {}, "no message"),
        ([USER], {"form": "llama-guard"}, "no guard form"),
        ([USER], {"form": "hf-8b", "categories": {"S1": "x"}}, "fixed categories"),
        ([USER], {"form": "hf-8b", "excluded": ["S1"]}, "cannot leave categories out"),
        ([USER], {"form": "cookbook", "excluded": ["S1"]}, "cannot leave categories out"),
        ([USER], {"excluded": ["S15"]}, "S15"),
        ([USER], {"excluded": ["Hate"]}, "codes look like"),
        ([USER], {"form": "stack-1b", "excluded": CODES[:13]}, "no category is left"),
        ([USER], {"form": "hf-1b", "categories": {}}, "no category is left"),
        ([USER], {"image": True}, "cannot show an image"),
        ([ASSISTANT, USER], {"form": "hf-8b"}, "must alternate"),
        ([USER, USER], {"form": "hf-1b"}, "must alternate"),
        ([USER, Message(role="ipython", content="r")], {"form": "hf-8b"}, "must alternate"),
    ],
)
def test_what_a_form_cannot_write_is_refused(messages, options, reason):
    with pytest.raises(PromptError, match=reason):
        guard_prompt(messages, **options)


@pytest.mark.parametrize("answer", ["safe", " safe", "\n\nsafe", "safe\n"])
def test_safe_passes(answer):
    verdict = parse_verdict(answer)
    assert verdict.safe
    assert verdict.understood
    assert verdict.violation is None


@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        ("unsafe\nS1", ("S1",)),
        ("\n\nunsafe\nS1,S10\n", ("S1", "S10")),
        ("unsafe\nS1, S2", ("S1", "S2")),
        ("unsafe\nS99", ("S99",)),
        ("unsafe\n,", ("", "")),
    ],
)
def test_unsafe_does_not_pass_and_names_its_codes(answer, codes):
    verdict = parse_verdict(answer)
    assert not verdict.safe
    assert verdict.understood
    assert verdict.categories == codes
    assert verdict.violation == {
        "level": "error",
        "user_message": REFUSED,
        "metadata": {"violation_type": answer.strip().partition("\n")[2]},
    }


def test_excluded_codes_pass_only_if_they_are_all_that_is_named():
    assert parse_verdict("unsafe\nS6", excluded=["S6"]).safe
    assert parse_verdict("unsafe\nS6,S1", excluded=["S1", "S6"]).safe
    assert not parse_verdict("unsafe\nS6,S1", excluded=["S6"]).safe
    assert not parse_verdict("unsafe\nS6, S1", excluded=["S1", "S6"]).safe


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " ",
        "Safe",
        "SAFE",
        "safe.",
        "safe safe",
        "safe\nS1",
        "unsafe",
        "unsafe S1",
        "unsafe\n\nS1",
        "unsafe\nS1\nS2",
    ],
)
def test_anything_outside_the_grammar_has_not_passed(answer):
    verdict = parse_verdict(answer)
    assert not verdict.safe
    assert not verdict.understood
    assert verdict.violation is not None


@settings(deadline=None)
@given(st.text())
def test_only_the_word_safe_passes(answer):
    assert parse_verdict(answer).safe == (answer.strip() == "safe")
