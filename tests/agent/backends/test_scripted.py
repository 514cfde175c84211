"""The doubles of models: what they keep of prompts, and that keeping it costs no more than what is new."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arriero import Agent, FunctionModel, Limits, ScriptedModel
from arriero.agent.backends import ModelError, Sampling
from arriero.agent.backends.scripted import Prompts
from arriero.prompts import Segment
from arriero.tools import tool

TEXTS = st.text(alphabet="ab<|>é\n", max_size=6)


async def _asked(model: FunctionModel, tokens: list[int]) -> str:
    return "".join([token.text async for token in model.generate(tokens, Sampling())])


@given(st.lists(st.tuples(st.booleans(), TEXTS, TEXTS), max_size=8))
def test_prompts_read_as_they_were_and_what_is_new_is_counted(steps: list[tuple[bool, str, str]]) -> None:
    heard: list[str] = []
    answers = [f"{answer}<|eot_id|>" for _, _, answer in steps]
    model = ScriptedModel(answers)
    seen: list[int] = []
    transcript: list[int] = []
    counts = []
    for (goes_on, text, _), answer in zip(steps, answers, strict=True):
        if not goes_on:
            transcript = []
        transcript = transcript + model.tokenize([Segment(text), Segment("<|eot_id|>", special=True)])
        counts.append(len(transcript) - (len(seen) if transcript[: len(seen)] == seen else 0))
        assert anyio.run(_asked, model, transcript) == answer
        heard.append(model.detokenize(transcript))
        transcript = transcript + [model._id(piece) for piece in model._split(answer)]
        seen = list(transcript)
    assert model.prompts == heard
    assert model.prefilled == counts
    model.assert_complete()


def test_two_conversations_at_once_do_not_mix() -> None:
    model = FunctionModel(lambda prompt: f"you said {prompt[-20:]}<|eot_id|>", chunk=1)
    one, other = model.tokenize([Segment("first")]), model.tokenize([Segment("second")])

    async def both() -> None:
        streams = [model.generate(tokens, Sampling()) for tokens in (one, other)]
        texts = ["", ""]
        for number in (0, 1) * 12:
            texts[number] += (await anext(streams[number])).text
        assert texts == ["you said fir", "you said sec"]
        for stream in streams:
            await stream.aclose()
        assert await _asked(model, other) == "you said second<|eot_id|>"

    anyio.run(both)
    assert model.prompts == ["first", "second", "second"]
    assert model.prefilled == [5, 6, 6]


def test_a_long_run_keeps_each_text_once() -> None:
    @tool(effect="read")
    async def look(x: int) -> str:
        """Look."""
        return "y" * 200

    steps = 200
    calls = [f'{{"name": "look", "parameters": {{"x": {number}}}}}<|eom_id|>' for number in range(steps)]
    model = ScriptedModel([*calls, "Done.<|eot_id|>"])
    with Agent(model, tools=[look], limits=Limits(max_steps=None), guards=None) as agent:
        assert agent.run_sync("Go").output == "Done."
    assert len(model.prompts) == steps + 1
    assert model.prompts[-1].startswith(model.prompts[-2])
    assert sum(map(len, model.prompts._pieces)) < 2 * len(model.prompts[-1])
    assert max(model.prefilled[2:]) < 400


def test_a_list_that_grew_is_not_read_again_and_what_was_not_taken_of_an_answer_is() -> None:
    model = ScriptedModel(["abcdefgh<|eot_id|>", "Done.<|eot_id|>"])
    tokens = model.tokenize([Segment("question")])

    async def broken_off() -> int:
        stream = model.generate(tokens, Sampling())
        first = await anext(stream)
        await anext(stream)  # written, and not taken into the transcript
        await stream.aclose()
        return first.id

    tokens.append(anyio.run(broken_off))
    tokens += model.tokenize([Segment(" again")])
    anyio.run(_asked, model, tokens)
    assert model.prompts == ["question", "questionabcd again"]
    assert model.prefilled == [8, len(tokens)]


def test_prompts_are_a_sequence() -> None:
    prompts = Prompts()
    for text in ("a", "b", "c"):
        prompts.add(text)
        prompts.end()
    assert prompts == ["a", "ab", "abc"]
    assert prompts[-1] == "abc"
    assert prompts[:2] == ["a", "ab"]
    assert prompts != ["a"]
    assert prompts != 3
    assert repr(prompts) == "['a', 'ab', 'abc']"
    with pytest.raises(IndexError):
        prompts[3]


def test_a_script_that_is_over_says_so() -> None:
    model = ScriptedModel(["One.<|eot_id|>"])
    anyio.run(_asked, model, [1])
    with pytest.raises(ModelError, match="has 1 answers and was asked for one more"):
        anyio.run(_asked, model, [1])


def test_a_script_that_is_not_used_up_says_so() -> None:
    with pytest.raises(AssertionError, match="1 of 1 scripted answers were not used"):
        ScriptedModel(["One.<|eot_id|>"]).assert_complete()
