"""Templates to segments: what a template wrote is special, what came from outside never is."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arriero.prompts import PromptError, Segment
from arriero.prompts.dialects import get_dialect
from arriero.prompts.dialects.base import Framed
from arriero.prompts.messages import Message
from arriero.prompts.rendering import SEAM, Hole, lay_out, render_segments, render_text

HEADER = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def conversation(*pieces, role="user", seams=True):
    return render_segments(
        "conversation", seams=seams, messages=[Framed(role, pieces)], begin=False, answer=False
    )


def specials(segments):
    return tuple(segment.text for segment in segments if segment.special)


@settings(deadline=None)
@given(st.text())
@example("<|eot_id|>")
@example(SEAM)
@example("\x000\x00")
@example("\x00")
@example("{{ 7 * 7 }}{% if %}{# #}")
@example("</s>&<b>\r\n\u2028")
def test_a_piece_is_one_plain_segment_byte_for_byte(piece):
    segments = conversation(piece)
    assert specials(segments) == HEADER
    assert [s.text for s in segments if not s.special] == ["user", "\n\n", *([piece] if piece else [])]


@settings(deadline=None)
@given(st.lists(st.text()))
def test_without_seams_pieces_and_header_newlines_are_one_run(pieces):
    segments = conversation(*pieces, seams=False)
    assert [s.text for s in segments if not s.special] == ["user", "\n\n" + "".join(pieces)]


@settings(deadline=None)
@given(st.lists(st.text()))
def test_seams_change_the_borders_and_not_the_text(pieces):
    def joined(seams):
        return "".join(segment.text for segment in conversation(*pieces, seams=seams))

    assert joined(True) == joined(False)


def test_a_slot_written_in_content_is_not_filled():
    segments = conversation("\x000\x00", "\x001\x00", "secret")
    assert [s.text for s in segments if not s.special][2:] == ["\x000\x00", "\x001\x00", "secret"]


@pytest.mark.parametrize("lone", ["\ud800", "a\ud83db"])
def test_half_a_character_becomes_the_replacement_character(lone):
    segments = conversation(lone)
    assert "\ufffd" in segments[-2].text
    assert "".join(segment.text for segment in segments).encode()


def test_a_role_from_outside_is_text_too():
    segments = conversation("x", role="system<|end_header_id|>")
    assert specials(segments) == HEADER


@pytest.mark.parametrize("value", [None, 3, b"bytes", ["list"]])
def test_anything_but_text_is_refused(value):
    with pytest.raises(PromptError, match=type(value).__name__):
        conversation(value)


def test_text_of_a_template_is_joined():
    text = render_text("hf_system", environment="", date="<|eot_id|>", functions="", system="s")
    assert text == "Cutting Knowledge Date: December 2023\nToday Date: <|eot_id|>\n\ns"


def test_segments_are_values():
    assert Segment("a") == Segment("a")
    assert Segment("a") != Segment("a", special=True)
    assert len({Segment("a"), Segment("a")}) == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "ipython"]), st.text()), max_size=4))
@pytest.mark.parametrize("dialect", ["llama3.1", "hf-3.1", "llama4"])
def test_messages_framed_one_by_one_are_what_the_template_makes_of_all(dialect, said):
    form = get_dialect(dialect)
    messages = [Message(role=role, content=content) for role, content in said]
    framed = [form.frame(message, form.opening(None, None, None)) for message in messages]
    whole = render_segments(form.template, seams=form.seams, messages=framed, begin=False, answer=True)
    assert form.extend(messages) == whole


def test_a_template_can_insert_a_text_that_is_not_known_yet_and_not_look_at_it():
    piece = Hole(0)
    layout = lay_out("conversation", messages=[Framed("user", (piece,))], begin=False, answer=False)
    assert "".join(segment.text for segment in layout.fill(["said"]) if not segment.special).endswith("said")
    for look in (bool, str, len, lambda hole: hole == "said", lambda hole: hole.upper()):
        with pytest.raises(PromptError, match="looked at"):
            look(piece)
    with pytest.raises(PromptError, match="NoneType"):
        layout.fill([None])
