"""A policy names weights as any other model is named: by path, or as they were pulled."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from arriero.agent.guard_models import pipeline, with_models
from arriero.safety.base import ScreenInput
from arriero.safety.policy import Policy

CONFIG = {
    "architectures": ["DebertaV2ForSequenceClassification"],
    "model_type": "deberta-v2",
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
}


@pytest.fixture
def pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a classifier's configuration, as ``arriero models pull prompt-guard-22m`` leaves one."""
    monkeypatch.setenv("ARRIERO_HOME", str(tmp_path))
    place = tmp_path / "models" / "prompt-guard-22m"
    place.mkdir(parents=True)
    content = json.dumps(CONFIG).encode()
    (place / "config.json").write_bytes(content)
    found = {"name": "config.json", "url": "", "size": len(content)}
    files = [found | {"sha256": hashlib.sha256(content).hexdigest()}]
    record = {"name": place.name, "reference": place.name, "fetched": "2026-01-01T00:00:00Z", "files": files}
    (place / "model.json").write_text(json.dumps(record))
    return place


def reason(folder: str) -> str:
    """Why a Prompt Guard with that folder cannot judge."""
    policy = Policy.from_dict({"input": ["prompt_guard"], "settings": {"prompt_guard": {"folder": folder}}})
    outcome = asyncio.run(pipeline(policy).check(ScreenInput("input", "hello")))
    assert outcome.failed
    return outcome.reason


def test_a_classifier_is_found_by_the_name_it_was_pulled_with(pulled: Path) -> None:
    assert f"{pulled}/tokenizer.json: this is not a tokenizer" in reason("prompt-guard-22m")


def test_a_classifier_is_found_by_its_folder(pulled: Path) -> None:
    assert f"{pulled}/tokenizer.json: this is not a tokenizer" in reason(str(pulled))


def test_what_is_not_here_is_told_with_the_way_to_get_it(pulled: Path) -> None:
    assert "arriero models pull prompt-guard-86m" in reason("prompt-guard-86m")
    assert "there is no model file" in reason("prompt-gard")


def test_a_policy_that_names_no_weights_stays_as_it_is() -> None:
    policy = Policy.preset("default")
    assert with_models(policy) is policy
