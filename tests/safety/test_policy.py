"""The policy: presets, TOML files, and what is said of a wrong one."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from arriero.agent import Agent
from arriero.agent.backends import ScriptedModel
from arriero.safety.base import ALLOW, PLACES
from arriero.safety.policy import PRESETS, Policy, PolicyError, Rule, Streaming, Texts

PAGE = (Path(__file__).parents[2] / "docs" / "safety.md").read_text("utf-8")


def read(folder: Path, text: str) -> Policy:
    file = folder / "policy.toml"
    file.write_text(text)
    return Policy.read(file)


def test_presets_are_there_by_name() -> None:
    for name in PRESETS:
        assert Policy.preset(name).name == name
    assert not any(Policy.preset("off").rules(place) for place in PLACES)
    assert all(list(Policy.preset("default").rules(place))[:1] == ["patterns"] for place in PLACES)
    assert "llama_guard" in Policy.preset("strict").rules("output")


def test_another_name_is_refused_with_a_hint() -> None:
    with pytest.raises(PolicyError, match=r"no policy is called 'strickt' \(did you mean 'strict'\?\)"):
        Policy.preset("strickt")
    with pytest.raises(PolicyError, match="there are off, default, strict"):
        Agent(ScriptedModel([]), guards="none")


def test_a_policy_does_not_change() -> None:
    policy = Policy.preset("default")
    with pytest.raises(ValidationError):
        policy.retries = 5  # type: ignore[misc]
    changed = policy.with_rule("patterns", Rule(action="block"), "input")
    assert policy.input["patterns"].action is None
    assert changed.input["patterns"].action == "block"
    assert changed.output == policy.output


def test_a_file_completes_a_preset(tmp_path: Path) -> None:
    policy = read(
        tmp_path,
        """
        preset = "default"
        retries = 1

        [input.prompt_guard]
        threshold = 0.8
        action = "ask"
        timeout = 5
        on_failure = "allow"

        [output]
        patterns = false
        [output.llama_guard.categories]
        S6 = "allow"

        [texts]
        input = "No."

        [streaming]
        first = 50

        [categories]
        C1 = "Trade secrets"

        [settings.prompt_guard]
        model = "/models/prompt-guard"
        """,
    )
    assert list(policy.input) == ["patterns", "prompt_guard"]
    assert policy.input["prompt_guard"] == Rule(threshold=0.8, action="ask", timeout=5, on_failure="allow")
    assert policy.output == {"llama_guard": Rule(categories={"S6": "allow"})}
    assert policy.texts == Texts(input="No.")
    assert policy.streaming == Streaming(first=50)
    assert (policy.retries, policy.categories) == (1, {"C1": "Trade secrets"})
    assert policy.settings == {"prompt_guard": {"model": "/models/prompt-guard"}}
    assert policy.tool_result == Policy.preset("default").tool_result
    assert policy.name == str(tmp_path / "policy.toml")


def test_a_file_without_a_preset_starts_from_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "[input]\npatterns = {}\n").input == {"patterns": Rule()}
    assert read(tmp_path, "").output == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[input.x]\ntreshold = 0.9", "input.x.treshold: there is no such key (did you mean 'threshold'?)"),
        ("[inputs.patterns]", "inputs: there is no such key (did you mean 'input'?); preset, name, input"),
        ("[output.x]\nthreshold = 2", "output.x.threshold: input should be less than or equal to 1 (it is 2)"),
        ("[output.x]\naction = 'alow'", "output.x.action: input should be 'allow', 'replace', 'retry', 'ask'"),
        ("[output.x.categories]\nS1 = 'no'", "output.x.categories.S1: input should be"),
        ("[output.x]\ntimeout = 0", "output.x.timeout: input should be greater than 0 (it is 0)"),
        ("[output.x]\non_failure = 'ask'", "output.x.on_failure: input should be 'block' or 'allow'"),
        ("[input.x]\naction = 'retry'", "input: x: retry is for what the model writes"),
        ("[tool_result.x.categories]\nS1 = 'retry'", "tool_result: x: retry is for what the model writes"),
        ("[texts]\ninputs = 'x'", "texts.inputs: there is no such key (did you mean 'input'?)"),
        ("[streaming]\nfirst = 0", "streaming.first: input should be greater than or equal to 1"),
        ("preset = 'strickt'", "preset: no policy is called 'strickt' (did you mean 'strict'?)"),
        ("preset = 3", "preset: no policy is called 3"),
        ("[screens]\nx = 1", "screens: objects cannot be in a file; settings is for their options"),
        ("input = 3", "input: input should be a valid dictionary (it is 3)"),
        ("retries = -1", "retries: input should be greater than or equal to 0"),
        ("this is not toml", "this is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PolicyError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path}/policy.toml: {words}")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="the policy cannot be read: No such file"):
        Policy.read(tmp_path / "nothing.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="this is not TOML"):
        Policy.read(tmp_path / "binary")


def test_names_are_usual_rules() -> None:
    assert Policy.model_validate({"output": ["patterns"]}).output == {"patterns": Rule()}


def test_a_screen_of_ones_own_stands_where_it_is_put() -> None:
    policy = Policy.preset("default").with_screen("mine", lambda given: ALLOW, "output", action="block")
    assert policy.output["mine"] == Rule(action="block")
    assert "mine" not in policy.input
    everywhere = Policy.preset("off").with_screen("mine", lambda given: ALLOW)
    assert all("mine" in everywhere.rules(place) for place in PLACES)


def test_texts_name_the_tool() -> None:
    policy = Policy(texts=Texts(tool_call="{tool} may not {run}."))
    assert policy.text("tool_call", "send") == "send may not {run}."


def test_the_policies_on_the_page_can_be_read_and_say_what_is_usual() -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    policies = [Policy.from_dict(tomllib.loads(block)) for block in blocks]
    assert policies[0].output == Policy.preset("strict").output
    reference = policies[1]
    assert (reference.retries, reference.streaming) == (Policy().retries, Policy().streaming)
    assert reference.texts == Texts()
    usual = reference.input["prompt_guard"]
    assert (usual.timeout, usual.on_failure) == (Rule().timeout, Rule().on_failure)


def test_the_page_shows_the_presets_as_they_are() -> None:
    names = {"patterns": "patterns", "Llama Guard": "llama_guard", "Prompt Guard": "prompt_guard"}
    names |= {
        "Code Shield": "code_shield",
        "provenance (noted)": "provenance",
        "provenance (asks)": "provenance",
    }
    for place in PLACES:
        row = re.search(rf"^\| {place} \| – \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
        assert row is not None
        for preset, cell in zip(("default", "strict"), row.groups(), strict=True):
            rules = Policy.preset(preset).rules(place)
            assert {names[name] for name in cell.split(", ")} == set(rules)
            if "provenance" in rules:
                assert ("(asks)" in cell) == (rules["provenance"].action == "ask")
