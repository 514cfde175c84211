"""Checks tool-output vectors: an API response or execution result, and the exact text of the message."""

from collections.abc import Iterable
from json import dumps
from typing import Any

from arriero.tools.formats import code_output, tool_response
from arriero.tools.search import format_results
from arriero.tools.wolfram import clean_response

Failures = list[str]


def check_tool_output(rows: Iterable[dict[str, Any]]) -> dict[str, tuple[int, int, Failures]]:
    """Give, per variant, how many rows passed, how many there were, and a line for each that did not.

    Rows whose reference failed (no ``expected_text``) must give a text without an exception: there we deviate
    on purpose. Rows of an unknown tool fail.
    """
    results: dict[str, tuple[int, int, Failures]] = {}
    for row in rows:
        variant = variant_of(row)
        passed, total, failures = results.get(variant, (0, 0, []))
        expected = row.get("expected_text")
        try:
            got = render(variant, row["input"])
        except Exception as error:
            failures.append(f"{row.get('id')}: {type(error).__name__}: {error}")
        else:
            if expected is None or got == expected:
                passed += 1
            else:
                failures.append(f"{row.get('id')} ({row.get('dim')}): expected {expected!r}, got {got!r}")
        results[variant] = (passed, total + 1, failures)
    return results


def variant_of(row: dict[str, Any]) -> str:
    """Name the text form that a row is about."""
    tool = str(row.get("tool"))
    if tool == "brave_search":
        reference = str(row["renderer"]["name"])
        return "brave_search/las" if reference.startswith("json.dumps") else "brave_search/llama_stack"
    return tool


def render(variant: str, given: dict[str, Any]) -> str:
    """Write the text of one row with our own code."""
    match variant:
        case "brave_search/las":
            return format_results(given["api_response"], max_results=given.get("max_results", 3))
        case "brave_search/llama_stack":
            return format_results(
                given["api_response"], form="llama_stack", max_results=given.get("max_results", 3)
            )
        case "wolfram_alpha":
            return dumps(clean_response(given["api_response"]))
        case "code_interpreter":
            result = given["execution_result"]
            return code_output(result["process_status"], result["stdout"], result["stderr"])
        case "tool_response_generator":
            return tool_response(given["status"] == "success", given["stdout"], given["stderr"])
        case _:
            raise LookupError(f"no text form is known for the tool {variant!r}")
