"""What a file says of itself, and which wire form follows from it."""

from pathlib import Path

import pytest

from arriero.agent.backends.dialect import choose_dialect
from arriero.agent.backends.gguf import GGUFInfo
from arriero.agent.store.describe import describe
from arriero.agent.store.opening import model_path


@pytest.mark.parametrize(
    ("name", "template", "stated", "chosen"),
    [
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M", "", "", "llama3.1"),
        ("meta-llama/Llama-3.2-1B-Instruct", "", "", "llama3.2"),
        ("Llama 3.2 11B Vision Instruct", "", "", "llama3.1"),
        ("llama3.2:3b", "", "", "llama3.2"),
        ("llama-3_3-70b", "", "", "llama3.3"),
        ("Llama-4-Scout", "{{ builtin_tools }}", "", "llama3.1"),
        ("my-finetune", "{{ builtin_tools }}", "", "llama3.1"),
        ("my-finetune", "", "", "llama3.1"),
        ("Llama-3.1-8B", "", "llama3.2", "llama3.2"),
        ("ollama-3.14", "", "", "llama3.1"),
    ],
)
def test_dialects(name: str, template: str, stated: str, chosen: str) -> None:
    choice = choose_dialect(name, template, stated)
    assert choice.name == chosen
    assert choice.reason


def test_the_bundled_model() -> None:
    told = describe(GGUFInfo.read(model_path("bundled")))
    assert told.missing == ""
    assert told.parameters > 1_000_000
    assert dict(told.special)["<|eot_id|>"] > 0
    text = "\n".join(told.lines())
    assert "usable         yes" in text
    assert f", {told.parameters / 1e6:.3g} million parameters\n" in text
    assert f", {told.size / 1e6:.2f} MB\n" in text
    assert "arriero.dialect" in text or told.dialect.reason in text


def test_a_file_that_cannot_chat(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    path = tmp_path / "Llama-3.2-odd.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_name("Odd\x1b[31m")
    writer.add_file_type(15)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    told = describe(GGUFInfo.read(path))
    assert told.quantisation == "Q4_K_M"
    assert "no weights" in told.missing
    assert told.dialect.name == "llama3.2"
    assert "\x1b" not in "\n".join(told.lines())
