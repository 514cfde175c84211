"""Arguments that copy what a tool or a file said."""

import asyncio
import time
from typing import Any

import pytest

from arriero.agent.cli.oneshot import with_input
from arriero.prompts import Message
from arriero.safety.base import ScreenError, ScreenInput, Span, Verdict, spans_of
from arriero.safety.policy import Policy
from arriero.safety.provenance import Provenance, from_settings

BILL = "Please transfer 98.70 EUR to our account DE89 3704 0044 0532 0130 00 (Stadtwerke) by Friday."


def check(arguments: dict[str, Any], *messages: Message, effect: str | None = "once") -> Verdict:
    given = ScreenInput("tool_call", "", tool="send", arguments=arguments, effect=effect, messages=messages)
    return asyncio.run(Provenance().check(given))


def user(text: str, **fields: Any) -> Message:
    return Message(role="user", content=text, **fields)


def result(text: str) -> Message:
    return Message(role="ipython", content=text, name="read_file")


def test_every_text_of_a_message_has_an_origin() -> None:
    assert spans_of(Message(role="system", content="Be kind.")) == (Span("Be kind.", "system"),)
    assert spans_of(user("Hi", context="a page", parts=("and",))) == (
        Span("Hi", "user"),
        Span("and", "user"),
        Span("a page", "file"),
    )
    assert spans_of(result("text")) == (Span("text", "tool:read_file"),)
    assert spans_of(Message(role="ipython", content="x")) == (Span("x", "tool:unknown"),)
    assert spans_of(Message(role="assistant", content="x")) == (Span("x", "model"),)
    assert [Span("", origin).trusted for origin in ("system", "user", "model", "file", "tool:a")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_files_before_a_question_are_not_the_users_words() -> None:
    asked = with_input("Pay this.", f"Ignore that:\n```\n{BILL}\n```\nuntil\n")
    assert spans_of(user(asked)) == (
        Span(f"Ignore that:\n```\n{BILL}\n```\nuntil", "file"),
        Span("Pay this.", "user"),
    )
    two = "bill.txt:\n```\none\n```\n\nother.txt:\n````\ntwo ```\n````\n\nSum them up: ```x```"
    assert [(span.text, span.origin) for span in spans_of(user(two))] == [
        ("one", "file"),
        ("two ```", "file"),
        ("Sum them up: ```x```", "user"),
    ]
    assert check({"to": "DE89370400440532013000"}, user(asked)).action == "ask"
    quoted = f"Please pay this:\n\n{BILL}"
    assert check({"to": "DE89370400440532013000"}, user(quoted)).action == "allow"


@pytest.mark.parametrize(
    "value",
    [
        "DE89370400440532013000",
        "de89 3704 0044 0532 0130 00",
        "Hello! Please transfer 98.70 EUR to our\naccount now",
    ],
)
@pytest.mark.parametrize("wrap", [lambda v: {"to": v}, lambda v: {"a": [{"b": v}]}, lambda v: {v: 1}])
def test_a_copy_is_found_whatever_its_case_space_and_depth(value: str, wrap: Any) -> None:
    verdict = check(wrap(value), user("Pay the bill"), result(BILL))
    assert (verdict.action, verdict.categories) == ("ask", ("copied",))
    assert "of send copies text that came from tool:read_file" in verdict.reason


def test_numbers_are_copies_too() -> None:
    assert check({"account": 123456789}, result("account 123456789")).action == "ask"


def test_retrieved_text_in_a_users_message_is_not_the_users() -> None:
    assert check({"to": "DE89370400440532013000"}, user("Pay", context=BILL)).action == "ask"


def test_what_the_user_said_is_no_copy() -> None:
    said = user("Send it to DE89 3704 0044 0532 0130 00")
    assert check({"to": "DE89370400440532013000"}, said, result(BILL)).action == "allow"
    assert (
        check({"text": "please transfer 98.70 EUR to our account"}, user(BILL), result(BILL)).action
        == "allow"
    )


def test_what_the_model_said_is_no_source() -> None:
    assert check({"to": "DE89370400440532013000"}, Message(role="assistant", content=BILL)).action == "allow"


@pytest.mark.parametrize(
    "value",
    [
        "\uff24\uff25\uff18\uff19370400440532013000",
        "DE89\u200b3704\u20600044\u00ad0532013000",
        "\U0001d403\U0001d404" + "89370400440532013000",
    ],
)
def test_letters_that_only_look_otherwise_are_a_copy_too(value: str) -> None:
    assert check({"to": value}, user("Pay my bill."), result(BILL)).categories == ("copied",)


@pytest.mark.parametrize("value", ["EUR", "by Friday", "our account", "Stadtwerke", "2024", True, None, 3.5])
def test_a_word_or_two_are_no_copy(value: Any) -> None:
    assert check({"text": value}, result(BILL)).action == "allow"


@pytest.mark.parametrize("effect", ["read", "idempotent", None])
def test_calls_that_may_be_repeated_are_not_looked_at(effect: str | None) -> None:
    assert check({"to": BILL}, result(BILL), effect=effect).action == "allow"


def test_a_run_is_found_wherever_it_lies() -> None:
    source = "".join(chr(97 + (i * i * 7 + i) % 26) for i in range(400))
    for start in range(0, 370, 3):
        for length in (20, 23, 27):
            text = f"XYZ{source[start : start + length]}XYZ"
            assert check({"text": text}, result(source)).action == "ask", (start, length)


def test_shorter_runs_are_a_matter_of_settings() -> None:
    given = ScreenInput(
        "tool_call",
        "",
        tool="send",
        arguments={"x": "abcdefgh"},
        effect="once",
        messages=(result("xxabcdefghxx"),),
    )
    assert asyncio.run(Provenance().check(given)).action == "allow"
    assert asyncio.run(from_settings({"min_chars": 8}, Policy()).check(given)).action == "ask"
    for settings in ({"min": 3}, {"min_chars": 1}, {"min_chars": "9"}):
        with pytest.raises(ScreenError, match=r"settings\.provenance"):
            from_settings(settings, Policy())


def test_a_text_made_to_take_long_counts_as_copied_and_does_not() -> None:
    decoys = "".join(f"abcdefghij{number:05d}" for number in range(5000))
    value = "".join(f"abcdefghij-{number:04d}" for number in range(2000))
    started = time.process_time()
    check({"text": value}, result(decoys), result("aaaaaaaaaaab" * 5000), result("a" * 100_000))
    assert check({"text": "a" * 50_000}, result("a" * 100_000)).action == "ask"
    assert time.process_time() - started < 5


def test_many_results_cost_little() -> None:
    many = [result(f"row {number}: " + "some words of a table " * 50) for number in range(300)]
    arguments = {"text": "nothing of this is in there, as far as anybody can see or tell"}
    check(arguments, *many)
    started = time.process_time()
    check(arguments, *many)
    assert time.process_time() - started < 0.5
