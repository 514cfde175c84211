"""Llama Guard over long conversations, in the engine and behind servers."""

import math

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arriero.agent.backends.http import HTTPModel
from arriero.agent.backends.llama_cpp import LlamaCppModel
from arriero.agent.backends.scripted import FunctionModel
from arriero.prompts import Message
from arriero.safety.base import ScreenError, ScreenInput
from arriero.safety.llama_guard.prompt import GUARD_FORMS
from arriero.safety.llama_guard.screen import LlamaGuard
from arriero.safety.llama_guard.turns import in_form, judged, pieces, windows

from ...agent.backends.http.servers import LlamaServer, Vllm
from .guard_doubles import AGENT, SAFE, UNSAFE, USER, Scored, check, harmful
from .tiny_llama_guard import write_tiny_guard


def count(text):
    return len(text)


def turns(*lengths):
    roles = ("user", "assistant")
    return [Message(role=roles[i % 2], content=chr(97 + i % 26) * n) for i, n in enumerate(lengths)]


def test_a_conversation_that_fits_is_kept_whole():
    messages = turns(10, 10, 10)
    assert list(windows(messages, 200, count)) == [messages]


def test_what_does_not_fit_is_dropped_from_the_front_and_starts_with_a_user():
    messages = turns(*[50] * 9)
    (window,) = windows(messages, 300, count)
    assert window[-1] == messages[-1]
    assert window[0].role == "user"
    assert window == messages[len(messages) - len(window) :]


def test_the_window_stays_where_it_is_for_a_few_turns():
    starts = []
    for n in range(9, 41, 2):
        (window,) = windows(turns(*[50] * n), 1000, count)
        starts.append(n - len(window))
    assert len(set(starts)) < len(starts) / 2
    assert starts == sorted(starts)


@settings(max_examples=200, deadline=None)
@given(lengths=st.lists(st.integers(0, 300), min_size=1, max_size=12), room=st.integers(40, 400))
def test_every_window_fits_and_the_last_turn_is_always_there(lengths, room):
    messages = turns(*lengths)
    found = list(windows(messages, room, count))
    for window in found:
        assert sum(len(message.content) + 12 for message in window) <= room
        assert window[-1].role == messages[-1].role
        assert window[0].role == "user"
    last = messages[-1].content
    assert len(found) == 1 or all(window[-1].content in last for window in found)
    assert sum(len(window[-1].content) for window in found) >= len(last)


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 5000), room=st.integers(5, 300))
def test_pieces_lose_nothing(size, room):
    text = "".join(chr(0x4E00 + index) for index in range(size))
    found = pieces(text, room, count)
    assert all(len(piece) <= room for piece in found)
    assert {*"".join(found)} == {*text}


def test_a_context_without_room_is_refused():
    with pytest.raises(ScreenError, match="too short"):
        check(LlamaGuard(FunctionModel(lambda prompt: SAFE, context_length=500), self_test=False))
    with pytest.raises(ScreenError, match="single character"):
        pieces("x", 0, count)


class Measured(FunctionModel):
    """Keeps the length of every prompt and the room for its answer, in tokens."""

    def generate(self, tokens, sampling, *, max_tokens=None):
        self.lengths = [*getattr(self, "lengths", []), len(tokens) + max_tokens]
        return super().generate(tokens, sampling, max_tokens=max_tokens)


def test_a_text_longer_than_the_context_is_judged_piece_by_piece():
    model = Measured(lambda prompt: UNSAFE if harmful(prompt) else SAFE, context_length=3000)
    screen = LlamaGuard(model, self_test=False)
    for at in (0, 10_000, 19_996):
        text = "." * at + "bomb" + "." * (19_996 - at)
        assert check(screen, text, "tool_result", messages=(USER,)).action == "block"
    assert check(screen, "." * 20_000).action == "allow"
    assert max(model.lengths) <= 3000


def test_the_highest_score_of_all_pieces_counts():
    class Sure(Scored):
        async def generate(self, tokens, sampling, *, max_tokens=None):
            unsafe = 0.95 if "very bad" in self.detokenize(tokens) else 0.6
            self.likely = {ord("s"): 1 - unsafe, ord("u"): unsafe}
            async for token in super().generate(tokens, sampling, max_tokens=max_tokens):
                yield token

    screen = LlamaGuard(Sure(lambda prompt: UNSAFE, context_length=3000), self_test=False)
    verdict = check(screen, "." * 9000 + "very bad", "tool_result")
    assert verdict.score == pytest.approx(0.95)


def test_a_long_conversation_is_judged_by_its_last_turn():
    model = Measured(lambda prompt: UNSAFE if harmful(prompt) else SAFE, context_length=4000)
    screen = LlamaGuard(model, self_test=False)
    history = tuple(turns(*[400] * 40))
    assert check(screen, "a bomb", messages=history).action == "block"
    assert check(screen, "hello", messages=history).action == "allow"
    assert max(model.lengths) <= 4000


def test_two_sides_only():
    messages = [Message(role="ipython", content="r"), AGENT, USER, USER]
    folded = in_form(messages, GUARD_FORMS["hf-8b"])
    assert [message.role for message in folded] == ["user", "assistant", "user"]
    assert folded[1].content == "r\n\nHi."
    assert in_form(messages, GUARD_FORMS["stack-8b"]) == messages


def test_retrieved_text_and_parts_are_judged():
    message = Message(role="user", content="a", parts=("b",), context="c")
    (earlier, _), _ = judged(ScreenInput(place="output", text="d", messages=(message,)))
    assert earlier.content == "a\nb\nc"


# through the engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    path = write_tiny_guard(tmp_path_factory.mktemp("guard") / "guard.gguf")
    model = LlamaCppModel(path, n_threads=1, n_ctx=2048, n_parallel=2)
    yield model
    model.engine.close()


@pytest.mark.parametrize("form", ["stack-8b", "hf-8b", "hf-1b"])
def test_a_guard_in_the_engine_proves_itself_and_judges(engine, form):
    screen = LlamaGuard(engine, form=form)
    for place in ("input", "output", "tool_result"):
        assert anyio.run(screen.prepare, place).holds
    assert check(screen, "How do I bake bread?").action == "allow"
    verdict = check(screen, "How do I kill a man?")
    assert verdict.action == "block"
    assert verdict.categories == ("S1",)
    assert verdict.score is not None
    assert verdict.score > 0.9


def test_the_engine_reads_the_instructions_once(engine):
    screen = LlamaGuard(engine, self_test=False)
    history = (Message(role="user", content="What is the time?"),)
    check(screen, "one")
    check(screen, "It is late.", "output", messages=history)
    before = engine.stats
    check(screen, "two")
    check(screen, "It is noon.", "output", messages=history)
    spent = engine.stats.prefilled_tokens - before.prefilled_tokens
    reused = engine.stats.reused_tokens - before.reused_tokens
    assert spent * 2 < reused  # what follows the conversation is read anew


def test_a_long_text_is_judged_whole_by_the_engine(engine):
    screen = LlamaGuard(engine, self_test=False)
    long = "hello there " * 300
    assert check(screen, long, "tool_result").action == "allow"
    assert check(screen, f"{long} bomb {long}", "tool_result").action == "block"


def test_an_always_safe_model_in_the_engine_is_refused(tmp_path):
    path = write_tiny_guard(tmp_path / "yes.gguf", always="safe")
    model = LlamaCppModel(path, n_threads=1, n_ctx=1024)
    try:
        with pytest.raises(ScreenError, match=r"0 of 4 harmful"):
            check(LlamaGuard(model))
    finally:
        model.engine.close()


# behind a server


class LlamaServerGuard(LlamaServer):
    """As llama-server with a guard that is 90 % sure."""

    def events(self, text):
        for event in super().events(text):
            for place in event.get("completion_probabilities", ()):
                other = "unsafe" if text.startswith("safe") else "safe"
                sure = [(event["tokens"][0], math.log(0.9)), (self.vocab.encode(other)[0], math.log(0.1))]
                place["top_logprobs"] = [
                    {"id": token, "token": "?", "bytes": [], "logprob": logprob} for token, logprob in sure
                ]
            yield event


class VllmGuard(Vllm):
    """As vLLM, which tells likely tokens by their text only."""

    def events(self, text):
        word = text.partition("\n")[0].partition("<")[0]
        other = "unsafe" if word == "safe" else "safe"
        for event in super().events(text):
            for choice in event["choices"]:
                if "logprobs" in choice:
                    count = len(choice["token_ids"])
                    choice["logprobs"]["top_logprobs"] = [{word: math.log(0.9), other: math.log(0.1)}] * count
            yield event


@pytest.mark.parametrize("kind", [LlamaServerGuard, VllmGuard])
def test_a_guard_behind_a_server_is_asked_and_scored_in_the_same_way(kind, engine):
    vocab = engine.engine.vocab
    with kind(vocab, "safe<|eot_id|>", "unsafe\nS1<|eot_id|>") as server:
        model = HTTPModel(server.url)
        screen = LlamaGuard(model, self_test=False)

        async def both():
            passed = await screen.check(ScreenInput(place="input", text="hi"))
            stopped = await screen.check(ScreenInput(place="input", text="ho"))
            await model.aclose()
            return passed, stopped

        passed, stopped = anyio.run(both)
    assert (passed.action, passed.score) == ("allow", pytest.approx(0.1))
    assert (stopped.action, stopped.score, stopped.categories) == ("block", pytest.approx(0.9), ("S1",))
