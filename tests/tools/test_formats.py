"""Tool results in the reference's text forms."""

import json
from pathlib import Path

import pytest
from tool_output_check import check_tool_output

from arriero.tools.formats import code_output, execution_output, strip_paths, tool_response

VECTORS = Path(__file__).parent.parent / "conformance" / "vectors" / "tool_output_dev.jsonl"


def test_vectors() -> None:
    rows = [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()]
    results = check_tool_output(rows)
    assert sum(total for _, total, _ in results.values()) == len(rows) == 23
    assert [failure for _, _, failures in results.values() for failure in failures] == []
    assert set(results) == {
        "brave_search/las",
        "brave_search/llama_stack",
        "wolfram_alpha",
        "code_interpreter",
        "tool_response_generator",
    }


def test_a_wrong_or_unknown_vector_is_reported() -> None:
    given = {"execution_result": {"process_status": "completed", "stdout": "4", "stderr": ""}}
    wrong = {"id": "w", "tool": "code_interpreter", "input": given, "expected_text": "completed"}
    unknown = {"id": "u", "tool": "photogen", "input": {}, "expected_text": ""}
    results = check_tool_output([wrong, unknown])
    assert results["code_interpreter"][:2] == (0, 1)
    assert results["photogen"][:2] == (0, 1)
    assert results["photogen"][2][0].startswith("u: LookupError")


def test_streams_are_written_as_they_are() -> None:
    assert code_output("completed", " a \n", "") == "completed\n[stdout]\n a \n\n[/stdout]"


def test_captured_streams_are_tidied() -> None:
    trace = '\nTraceback (most recent call last):\n  File "/tmp/x y.py", line 3, in <module>\nE: no\n'
    assert execution_output("completed", "\n4 \n", trace) == (
        "completed\n[stdout]\n4\n[/stdout]\n"
        "[stderr]\nTraceback (most recent call last):\n  line 3, in <module>\nE: no\n[/stderr]"
    )


def test_a_time_out_replaces_both_streams() -> None:
    expected = "timeout\n[stdout]\nTimed out\n[/stdout]\n[stderr]\nTimed out\n[/stderr]"
    assert execution_output("timeout", "partial", "") == expected


@pytest.mark.parametrize("text", ["", "File x, line 3", 'File "a\nb", line 3', 'File "a", line x'])
def test_other_lines_keep_their_paths(text: str) -> None:
    assert strip_paths(text) == text


def test_tool_response() -> None:
    assert tool_response(True, "4", "") == "completed\n[stdout]4[/stdout]"
    assert tool_response(False) == "failed"
