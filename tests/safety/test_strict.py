"""The strict policy with all its guards, each a small stand-in of the real architecture, around a whole run."""

from pathlib import Path

import pytest

from arriero.agent import Agent
from arriero.agent.backends import ScriptedModel
from arriero.agent.events import GuardrailChecked
from arriero.safety.policy import Policy
from arriero.tools import tool

from .llama_guard.tiny_llama_guard import write_tiny_guard as write_llama_guard
from .prompt_guard.tiny_deberta import HARMFUL, HARMLESS
from .prompt_guard.tiny_deberta import write_tiny_guard as write_prompt_guard

ATTACK = HARMFUL[0]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """``strict``, read from a file that says where the weights are."""
    from arriero.safety.prompt_guard.screen import HARMFUL_CANARIES, HARMLESS_CANARIES

    folder = tmp_path_factory.mktemp("weights")
    ordinary = ("hello there", "what can you do?", "the weather is fine", "poison", "kill")
    write_prompt_guard(
        folder / "prompt-guard",
        labels=2,
        harmful=[*HARMFUL_CANARIES, *HARMFUL, f"weather: {ATTACK}"],
        harmless=[*HARMLESS_CANARIES, *HARMLESS, *ordinary],
    )
    write_llama_guard(folder / "guard.gguf")
    file = folder / "policy.toml"
    file.write_text(
        f"""preset = "strict"
        [settings.llama_guard]
        model = "{folder}/guard.gguf"
        [settings.prompt_guard]
        folder = "{folder}/prompt-guard"
        [settings.code_shield]
        rules = false
        """
    )
    return Policy.read(file)


def run(policy: Policy, question: str, *answers: str, weather: str = "the weather is fine"):
    @tool
    def look() -> str:
        """Look out of the window."""
        return weather

    model = ScriptedModel([f"{answer}<|eot_id|>" if "<|" not in answer else answer for answer in answers])
    events: list[object] = []
    with Agent(model, tools=[look], guards=policy) as agent:
        for event in agent.stream_sync(question):
            events.append(event)
    checks = [event for event in events if isinstance(event, GuardrailChecked)]
    return events[-1], checks, model


CALL = '{"name": "look", "parameters": {}}<|eom_id|>'


def test_an_ordinary_run_passes_all_guards(policy: Policy) -> None:
    finished, checks, _ = run(policy, "hello there", CALL, "the weather is fine")
    assert finished.output == "the weather is fine"
    assert {(check.place, check.screen) for check in checks} >= {
        ("input", "llama_guard"),
        ("input", "prompt_guard"),
        ("tool_call", "llama_guard"),
        ("tool_result", "prompt_guard"),
        ("tool_result", "llama_guard"),
        ("output", "llama_guard"),
    }
    assert all(check.action == "allow" and not check.failed for check in checks)
    assert all(check.score is not None for check in checks if check.screen in ("llama_guard", "prompt_guard"))


@pytest.mark.parametrize(("question", "screen"), [("kill", "llama_guard"), (ATTACK, "prompt_guard")])
def test_what_a_user_writes_is_judged_before_the_model_reads_it(policy: Policy, question, screen) -> None:
    finished, checks, model = run(policy, question, "never")
    assert finished.stop_reason == "blocked"
    assert screen in {check.screen for check in checks if check.action == "block"}
    assert model.used == 0


def test_an_injection_in_a_result_never_reaches_the_model(policy: Policy) -> None:
    finished, checks, model = run(
        policy, "hello there", CALL, "the weather is fine", weather=f"weather: {ATTACK}"
    )
    assert ("tool_result", "block") in {(c.place, c.action) for c in checks if c.screen == "prompt_guard"}
    assert ATTACK not in model.prompts[-1]
    assert "withheld" in model.prompts[-1]
    assert finished.stop_reason == "final"


def test_a_harmful_answer_is_not_given(policy: Policy) -> None:
    finished, checks, _ = run(policy, "hello there", "poison")
    assert finished.stop_reason == "blocked"
    assert "poison" not in (finished.output or "")
    assert any(c.place == "output" and c.categories == ("S1",) for c in checks)


def test_weights_that_are_not_there_end_the_run(policy: Policy, tmp_path: Path) -> None:
    settings = {**policy.settings, "llama_guard": {"model": str(tmp_path / "none.gguf")}}
    finished, checks, model = run(policy.model_copy(update={"settings": settings}), "hello there", "never")
    assert finished.stop_reason == "blocked"
    assert "none.gguf" in finished.error
    assert model.used == 0
    assert any(check.failed for check in checks)


def test_the_wrong_kind_of_weights_ends_the_run(policy: Policy) -> None:
    chat = {**policy.settings, "llama_guard": {"model": "bundled"}}
    finished, _, model = run(policy.model_copy(update={"settings": chat}), "hello there", "never")
    assert finished.stop_reason == "blocked"
    assert "llama_guard" in finished.error
    assert model.used == 0
