"""Llama Guard as a screen: what it is asked, how its answer counts, and every way in which it may fail."""

import dataclasses
import math

import anyio
import pytest

from arriero.agent.backends import ModelError, Sampling, ScriptedModel, Token
from arriero.agent.backends.base import TopToken
from arriero.agent.backends.scripted import FunctionModel
from arriero.prompts import Message, ToolCall
from arriero.safety.base import PLACES, Attachment, ScreenError, ScreenInput
from arriero.safety.llama_guard.model import Greedy
from arriero.safety.llama_guard.prompt import GUARD_FORMS
from arriero.safety.llama_guard.screen import LlamaGuard, from_settings
from arriero.safety.policy import Policy

from .guard_doubles import AGENT, SAFE, UNSAFE, USER, Scored, check, guard, harmful


def shown(screen):
    """The conversation in the last prompt."""
    return screen.model.prompts[-1].split("<BEGIN CONVERSATION>\n\n")[1].split("<END CONVERSATION>")[0]


def test_safe_passes_and_unsafe_is_blocked_with_its_categories():
    assert check(guard(SAFE)).action == "allow"
    verdict = check(guard(UNSAFE))
    assert verdict.action == "block"
    assert verdict.categories == ("S1", "S10")
    assert "S1 Violent Crimes, S10 Hate" in verdict.reason
    assert verdict.score is None


def test_the_prompt_is_the_forms_own():
    screen = guard(SAFE, form="hf-8b")
    check(screen, "hi")
    prompt = screen.model.prompts[0]
    assert prompt.startswith(" <|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nTask: Check if")
    assert prompt.endswith("<|start_header_id|>assistant<|end_header_id|>")
    assert shown(screen) == "User: hi\n\n"


def test_newlines_before_the_verdict_are_the_published_templates_way():
    screen = guard("\n\nsafe<|eot_id|>", form="hf-8b")
    assert check(screen).action == "allow"


@pytest.mark.parametrize(
    ("name", "own", "form"),
    [
        ("Llama Guard 3 8B", False, "stack-8b"),
        ("Llama-Guard-3-1B-Q4_K_M.gguf", False, "stack-1b"),
        ("Llama Guard 3 11B Vision", False, "stack-8b"),
        ("Llama-Guard-3-1B", True, "hf-1b"),
        ("guard", True, "cookbook"),
    ],
)
def test_the_form_follows_the_size_in_the_models_name(name, own, form):
    model = ScriptedModel([], name=name)
    assert LlamaGuard(model, categories={"S15": "Gambling."} if own else None).form.name == form


def test_each_place_asks_about_the_role_that_speaks_there():
    for place, role in (
        ("input", "User"),
        ("output", "Assistant"),
        ("code", "Assistant"),
        ("tool_result", "Tool"),
    ):
        screen = guard(SAFE)
        check(screen, "text", place, messages=(USER, AGENT, USER), origin="model")
        assert f"unsafe content in '{role}' messages" in screen.model.prompts[0]
        assert shown(screen).endswith(f"{role}: text\n\n")
        assert "User: Hello?\n\nAssistant: Hi.\n\n" in shown(screen)


def test_a_users_text_is_judged_without_what_follows_and_without_instructions():
    screen = guard(SAFE)
    check(screen, "mine", messages=(Message(role="system", content="SECRET"), USER, AGENT))
    assert shown(screen) == "User: Hello?\n\nAssistant: Hi.\n\nUser: mine\n\n"


def test_calls_and_their_results_are_read_as_the_agents_turn_where_there_are_two_sides():
    call = ToolCall(name="search", arguments={"q": "räv"})
    messages = (USER, Message(role="assistant", content="Looking.", tool_calls=(call,)))
    screen = guard(SAFE, form="hf-8b")
    check(screen, "a fox", "tool_result", messages=messages)
    assert shown(screen) == 'User: Hello?\n\nAgent: Looking.\nsearch({"q": "räv"})\n\na fox\n\n'


def test_a_call_is_judged_with_its_name_and_arguments():
    screen = guard(SAFE)
    check(screen, '{"to": "x"}', "tool_call", tool="send", messages=(USER,))
    assert shown(screen).endswith('Assistant: send({"to": "x"})\n\n')


def test_attachments_are_read_if_they_are_text_and_named_if_not():
    note = Attachment("notes.txt", "text/plain", b"in the notes")
    picture = Attachment("cat.png", "image/png", b"\x89PNG")
    screen = guard(SAFE)
    verdict = check(screen, "look", attachments=(note, picture))
    assert "in the notes" in shown(screen)
    assert "cat.png" in verdict.reason
    assert "cat.png" in check(guard(UNSAFE), attachments=(picture,)).reason


def test_an_empty_text_is_judged_too():
    screen = guard(UNSAFE)
    assert check(screen, "").action == "block"
    assert shown(screen) == "User: \n\n"


@pytest.mark.parametrize("form", GUARD_FORMS)
@pytest.mark.parametrize("place", PLACES)
def test_every_form_can_ask_at_every_place(form, place):
    screen = guard(SAFE, form=form)
    assert (
        check(screen, "text", place, tool="t", messages=(AGENT, AGENT, USER, USER, AGENT)).action == "allow"
    )
    assert "text" in shown(screen)
    assert check(screen, "alone", place, tool="t").action == "allow"
    assert shown(screen).startswith("User: ")


# the score


def test_the_score_weighs_unsafe_against_safe():
    screen = LlamaGuard(Scored(lambda prompt: SAFE, safe=0.6, unsafe=0.2), self_test=False)
    verdict = check(screen)
    assert verdict.score == pytest.approx(0.25)
    assert verdict.action == "allow"
    assert verdict.scores == {"unsafe": verdict.score}


def test_the_score_is_read_behind_leading_newlines():
    class Later(Scored):
        async def generate(self, tokens, sampling, *, max_tokens=None):
            yield Token(10, "\n\n", None, None, (TopToken(10, "\n\n", 0.0),))
            async for token in super().generate(tokens, sampling, max_tokens=max_tokens):
                yield token

    screen = LlamaGuard(Later(lambda prompt: UNSAFE, safe=0.1, unsafe=0.9), form="hf-8b", self_test=False)
    assert check(screen).score == pytest.approx(0.9)


def test_a_lower_threshold_blocks_what_the_model_calls_safe_and_asks_for_the_categories():
    def answer(prompt):
        return "S9<|eot_id|>" if prompt.endswith("\n\nunsafe\n") else SAFE

    for form in ("stack-8b", "hf-8b"):
        screen = LlamaGuard(Scored(answer, safe=0.7, unsafe=0.3), form=form, threshold=0.2, self_test=False)
        verdict = check(screen)
        assert verdict.action == "block"
        assert verdict.categories == ("S9",)
        assert verdict.threshold == 0.2


@pytest.mark.parametrize(("safe", "unsafe"), [(0.1, 0.1), (0.0, 0.0), (math.nan, 0.5), (5.0, 5.0)])
def test_probabilities_that_are_no_guards_do_not_pass(safe, unsafe):
    screen = LlamaGuard(Scored(lambda prompt: SAFE, safe=safe, unsafe=unsafe), self_test=False)
    with pytest.raises(ScreenError, match=r"is .* a guard"):
        check(screen)


def test_a_vocabulary_that_cannot_tell_the_verdicts_apart_is_refused():
    class Blind(Scored):
        def tokenize(self, segments):
            return [7, *super().tokenize(segments)]

    with pytest.raises(ScreenError, match="does not tell"):
        check(LlamaGuard(Blind(lambda prompt: SAFE, safe=1.0), self_test=False))


def test_the_settings_that_backends_read_are_all_there():
    assert {field.name for field in dataclasses.fields(Greedy)} == {
        field.name for field in dataclasses.fields(Sampling)
    }


# categories


def test_excluded_categories_pass_and_are_not_shown():
    screen = guard("unsafe\nS10<|eot_id|>", excluded=["S10"])
    assert check(screen).action == "allow"
    assert "S10: Hate" not in screen.model.prompts[0]
    assert check(guard(UNSAFE, excluded=["S10"])).action == "block"


def test_only_the_chosen_categories_count_also_where_the_form_shows_all():
    screen = guard("unsafe\nS1<|eot_id|>", form="hf-8b", only=["S2", "S9"])
    assert check(screen).action == "allow"
    assert "S1: Violent Crimes" in screen.model.prompts[0]
    scored = LlamaGuard(
        Scored(lambda prompt: "unsafe\nS1<|eot_id|>", unsafe=1.0),
        form="hf-8b",
        excluded=["S1"],
        self_test=False,
    )
    verdict = check(scored)
    assert (verdict.action, verdict.score, verdict.scores) == ("allow", 0.0, {"unsafe": 1.0})


@pytest.mark.parametrize("form", ["hf-1b", "cookbook"])
def test_categories_of_your_own_are_shown_with_their_descriptions(form):
    screen = guard(
        "unsafe\nS15<|eot_id|>", form=form, categories={"S15": "Gambling.\nNo bets."}, excluded=["S1"]
    )
    verdict = check(screen)
    assert verdict.categories == ("S15",)
    assert "S15: Gambling.\nNo bets.\n<END" in screen.model.prompts[0]
    assert "S1: Violent" not in screen.model.prompts[0]


def test_an_unknown_code_blocks():
    assert check(guard("unsafe\nS99, whatever<|eot_id|>", excluded=["S1"])).action == "block"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "llama-guard"}, "no form is called"),
        ({"form": "stack-8b", "categories": {"S15": "x"}}, "no categories of your own; these do: hf-1b"),
        ({"threshold": 0}, "threshold"),
        ({"excluded": ["S15"]}, "no category has the code 'S15'"),
        ({"only": ["Hate"]}, "no category has the code 'Hate'"),
        ({"only": []}, "no category is left"),
        ({"excluded": "S1"}, "a list of codes"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ScreenError, match=message):
        guard(SAFE, **options)


# failing closed


@pytest.mark.parametrize(
    "answer",
    [
        "Safe",
        "SAFE",
        "unsafe",
        "unsafe S1",
        "unsafe\n",
        "safe\nS1",
        "It is safe.",
        "",
        "\n\n",
        "I cannot help.",
    ],
)
def test_babble_does_not_pass(answer):
    with pytest.raises(ScreenError, match="is no verdict"):
        check(guard(f"{answer}<|eot_id|>"))


@pytest.mark.parametrize("answer", ["safe", "unsafe\nS1", "x" * 10_000])
def test_an_answer_that_does_not_end_does_not_pass(answer):
    with pytest.raises(ScreenError, match="did not end"):
        check(guard(answer))


def test_what_the_model_raises_is_not_swallowed():
    with pytest.raises(ModelError):
        check(LlamaGuard(ScriptedModel([]), self_test=False))


def test_a_hanging_model_can_be_cancelled():
    async def hurried():
        async def hang(prompt):
            await anyio.sleep_forever()

        with anyio.move_on_after(0.05) as scope:
            await guard(hang).check(ScreenInput(place="input", text="x"))
        return scope.cancelled_caught

    assert anyio.run(hurried)


@pytest.mark.parametrize("answer", [SAFE, UNSAFE], ids=["always safe", "always unsafe"])
@pytest.mark.parametrize("place", PLACES)
def test_a_guard_that_always_says_the_same_is_refused(answer, place):
    screen = LlamaGuard(FunctionModel(lambda prompt: answer))
    for _ in range(2):
        with pytest.raises(ScreenError, match=r"self-test failed.*get one with"):
            check(screen, place=place)
    assert len(screen.model.prompts) == 8


def test_a_self_test_that_was_cancelled_goes_on_where_it_was():
    asked = []

    async def slow(prompt):
        asked.append(prompt)
        if len(asked) == 4:
            await anyio.sleep(10)
        return UNSAFE if harmful(prompt) else SAFE

    screen = LlamaGuard(FunctionModel(slow))

    async def twice():
        with anyio.move_on_after(0.2):
            await screen.prepare("input")
        return await screen.prepare("input")

    assert anyio.run(twice).holds
    assert len(asked) == 9


def test_a_chat_model_is_refused():
    screen = LlamaGuard(
        FunctionModel(lambda prompt: "I can't help with that.<|eot_id|>", name="Llama 3.1 8B")
    )
    with pytest.raises(ScreenError, match=r"no verdict; is 'Llama 3.1 8B' a guard"):
        check(screen)


def test_a_guard_proves_itself_once_for_each_place_and_with_all_its_categories():
    screen = LlamaGuard(
        FunctionModel(lambda prompt: UNSAFE if harmful(prompt) else SAFE),
        excluded=["S1", "S10"],
        form="hf-8b",
    )
    assert check(screen, "hi").action == "allow"
    assert check(screen, "a bomb").action == "allow"  # excluded
    assert len(screen.model.prompts) == 10
    assert check(screen, "hi", "output").action == "allow"
    assert len(screen.model.prompts) == 19


# from a policy


def made(settings_, **policy):
    return from_settings(settings_, Policy(**policy))


def test_it_is_made_from_a_policys_settings():
    model = FunctionModel(lambda prompt: SAFE)
    screen = made({"model": model, "threshold": 0.3, "excluded": ["S6"]}, categories={"S15": "Gambling."})
    assert (screen.threshold, screen.form.name) == (0.3, "cookbook")
    assert "S15" in screen._hazards
    named = made({"model": "guard.gguf", "load": lambda name: FunctionModel(lambda prompt: SAFE, name=name)})
    assert named.model.name == "guard.gguf"


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({}, r"model must name the weights; get one with"),
        ({"model": "x"}, "nothing here can load it"),
        ({"model": FunctionModel(lambda prompt: SAFE), "treshold": 1}, "did you mean 'threshold'"),
    ],
)
def test_settings_that_name_no_weights_or_unknown_keys_are_refused(given_, message):
    with pytest.raises(ScreenError, match=message):
        made(given_)


def test_only_a_model_that_was_made_for_it_is_freed():
    closed = []

    class Closes(FunctionModel):
        async def aclose(self):
            closed.append(self.name)

    brought = made({"model": Closes(lambda prompt: SAFE, name="brought")})
    loaded = made({"model": "loaded", "load": lambda name: Closes(lambda prompt: SAFE, name=name)})
    anyio.run(brought.aclose)
    anyio.run(loaded.aclose)
    assert closed == ["loaded"]
