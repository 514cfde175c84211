"""The exact text for the model, and what is done to output before anyone sees it."""

import json
from pathlib import Path

import pytest

from arriero.tools.python import Execution, Image, SandboxLimits
from arriero.tools.python.result import cut, for_model, result_text, sanitise, shorten_files

VECTORS = Path(__file__).resolve().parents[4] / "shared/vectors/tool_output_dev.jsonl"


@pytest.mark.parametrize(
    ("status", "stdout", "stderr", "expected"),
    [
        ("completed", "1081\n", "", "completed\n[stdout]\n1081\n[/stdout]"),
        ("completed", "", "", "completed"),
        ("completed", " \n", "\n", "completed"),
        ("completed", "a\n", " w\n", "completed\n[stdout]\na\n[/stdout]\n[stderr]\nw\n[/stderr]"),
        (
            "timeout",
            "Timed out",
            "Timed out",
            "timeout\n[stdout]\nTimed out\n[/stdout]\n[stderr]\nTimed out\n[/stderr]",
        ),
    ],
)
def test_text_is_the_references(status: str, stdout: str, stderr: str, expected: str) -> None:
    assert result_text(status, stdout, stderr) == expected


def test_vectors_of_the_reference() -> None:
    if not VECTORS.exists():
        pytest.skip("the reference vectors are not beside this tree")
    lines = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    cases = [
        line
        for line in lines
        if line["tool"] == "code_interpreter" and "CodeInterpreterTool" in line["renderer"]["name"]
    ]
    assert cases
    for case in cases:
        ran = case["input"]["execution_result"]
        assert result_text(ran["process_status"], ran["stdout"], ran["stderr"]) == case["expected_text"], (
            case["id"]
        )


def test_file_names_leave_tracebacks() -> None:
    assert shorten_files('  File "/tmp/ipykernel_3/24.py", line 12, in f') == "  line 12, in f"
    assert shorten_files('a "File", line 3') == 'a "File", line 3'


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1bP1;2|dcs\x1b\\y", "y"),
        ("a\x08\x00b\x9b31m", "ab31m"),
        ("safe\u202eevil\u2066", "safeevil"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("dos\r\nline", "dos\nline"),
        ("lone \ud800", "lone ?"),
        ("tab\tand\nnewline é 😀", "tab\tand\nnewline é 😀"),
    ],
)
def test_sanitise(raw: str, shown: str) -> None:
    assert sanitise(raw) == shown


def test_images_become_artifacts_named_to_the_model() -> None:
    done = Execution(
        "completed", "x", images=(Image("image/png", b"\x89PNG"), Image("image/jpeg", b"\xff\xd8\xff"))
    )
    text, artifacts = for_model(done, SandboxLimits())
    assert text == "completed\n[stdout]\nx\n[/stdout]\n[image saved as fig-1.png]\n[image saved as fig-2.jpg]"
    assert [(a.name, a.mime) for a in artifacts] == [("fig-1.png", "image/png"), ("fig-2.jpg", "image/jpeg")]


def test_long_output_keeps_head_and_tail_and_is_an_artifact() -> None:
    limits = SandboxLimits(model_head_chars=10, model_tail_chars=5)
    text, artifacts = for_model(Execution("completed", "0123456789" * 4), limits)
    assert "0123456789\n[… 25 characters left out …]\n56789" in text
    assert text.endswith("[the whole output is saved as output.txt]")
    assert artifacts[0].name == "output.txt"
    assert ("0123456789" * 4).encode() in artifacts[0].data


def test_cut_leaves_short_text_alone() -> None:
    assert cut("abc", 2, 1) == "abc"


def test_note_is_the_last_line() -> None:
    assert for_model(Execution("error", note="gone"), SandboxLimits())[0] == "error\n[gone]"
