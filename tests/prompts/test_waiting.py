"""What the parser may hold back of a message that begins like a call, and what it must pass on."""

import pytest

from arriero.prompts import ArgumentsDelta, CallDone, CallOpened, CallParser, TextDelta, ToolSpec

TOOLS = [ToolSpec(name="f", parameters={"type": "object", "properties": {"a": {"type": "object"}}})]
CALL = '{"name": "f", "parameters": {"a": 1}}'


def pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_one_json_call_is_told_at_its_end(size: int) -> None:
    parser = CallParser(TOOLS)
    early = [event for piece in pieces(CALL, size) for event in parser.feed(piece)]
    opened, delta, done = [*early, *parser.finish()]
    assert isinstance(opened, CallOpened)
    assert isinstance(delta, ArgumentsDelta)
    assert isinstance(done, CallDone)
    assert (done.raw, delta.text) == (CALL, CALL)


@pytest.mark.parametrize(("behind", "kind"), [(" and so on", TextDelta), ("\n\nIt is so.", CallOpened)])
def test_what_follows_a_call_is_waited_for_no_longer_than_it_takes_to_see_it(behind: str, kind: type) -> None:
    parser = CallParser(TOOLS)
    early = [event for piece in pieces(CALL + behind, 1) for event in parser.feed(piece)]
    assert isinstance(early[0], kind)
    assert isinstance(early[-1], TextDelta)
    assert not parser.finish()


def test_a_json_answer_streams_once_its_first_key_is_plain() -> None:
    parser = CallParser(TOOLS)
    shown = [len(parser.feed(character)) for character in '{"answer": "yes", "why": "it is so"}']
    assert not any(shown[:11])
    assert all(shown[14:])


def test_prose_is_passed_on_piece_by_piece() -> None:
    parser = CallParser(TOOLS)
    assert [parser.feed(word) for word in ("Hello ", "there ", "my ", "friend")] == [
        [TextDelta(word)] for word in ("Hello ", "there ", "my ", "friend")
    ]
