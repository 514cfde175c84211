from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arriero.agent.cli.chat import Chat
from arriero.tools import tool


def entered(chat: Chat, line: str) -> str:
    """What one entry adds to the screen, without what was written over."""
    stream: Any = chat.terminal.stream
    before = len(stream.getvalue())
    assert chat.take(line)
    return str(stream.getvalue()[before:]).replace("\r\x1b[2K", "")


def test_a_question_is_answered_in_markdown(chat: Callable[..., Chat]) -> None:
    one = chat("It is **42**.")
    assert "It is 42.\n" in entered(one, "what is it?")
    assert [m.content for m in one.session.conversation.messages[-2:]] == ["what is it?", "It is **42**."]
    assert one.speed > 0


def test_plain_answers_stay_as_they_were_written(chat: Callable[..., Chat]) -> None:
    assert "It is **42**.\n" in entered(chat("It is **42**.", plain=True), "what is it?")


def test_nothing_entered_is_nothing_done(chat: Callable[..., Chat]) -> None:
    assert entered(chat("unused"), "   ") == ""


def test_an_unknown_command_never_reaches_the_model(chat: Callable[..., Chat]) -> None:
    one = chat("unused")
    out = " ".join(entered(one, "/hlep me").split())
    assert "no command is called /hlep; did you mean /help?" in out
    assert "see /help" in " ".join(entered(one, "/xyzzy").split())
    assert one.session.conversation.messages == []


def test_two_slashes_ask_a_question_that_begins_with_one(chat: Callable[..., Chat]) -> None:
    one = chat("A folder.")
    entered(one, "//etc is what?")
    assert one.session.conversation.messages[-2].content == "/etc is what?"


def test_help_lists_every_command(chat: Callable[..., Chat]) -> None:
    one = chat("unused")
    out = entered(one, "/help")
    for name in (
        "/tools",
        "/model",
        "/system",
        "/params",
        "/undo",
        "/retry",
        "/clear",
        "/context",
        "/last",
        "/quit",
    ):
        assert name in out
    assert "take back" in entered(one, "/help undo")
    assert "no command" in entered(one, "/help nonsense")


@pytest.mark.parametrize(("width", "indent"), [(80, 30), (40, 4)])
def test_help_goes_on_below_its_own_beginning(
    width: int, indent: int, chat: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    commands = entered(chat("unused"), "/help").partition("\n\n")[0].splitlines()
    assert any(line.startswith(" " * indent) for line in commands)
    assert all(line.startswith(("/", " " * indent)) for line in commands)
    assert max(map(len, commands)) <= width


def test_a_name_that_is_no_file_is_told(chat: Callable[..., Chat]) -> None:
    one = chat("Which file?")
    assert "there is no file nothere.txt" in entered(one, "sum up @nothere.txt")
    assert one.session.conversation.messages[-2].content == "sum up @nothere.txt"


def test_undo_takes_back_question_and_answer(chat: Callable[..., Chat]) -> None:
    one = chat("first", "second")
    entered(one, "question one")
    kept = list(one.session.conversation.tokens)
    entered(one, "question two")
    assert "took back: question two" in entered(one, "/undo")
    assert one.session.conversation.tokens == kept
    entered(one, "/undo")
    assert "nothing to take back" in entered(one, "/undo")


def test_retry_asks_the_last_question_again(chat: Callable[..., Chat]) -> None:
    one = chat("first", "second")
    assert "nothing to ask again" in entered(one, "/retry")
    entered(one, "the question")
    assert "second" in entered(one, "/retry")
    asked = [m.content for m in one.session.conversation.messages if m.role == "user"]
    assert asked == ["the question"]


def test_clear_forgets_the_conversation(chat: Callable[..., Chat]) -> None:
    one = chat("first")
    entered(one, "the question")
    entered(one, "/clear")
    assert one.session.conversation.tokens == []


def test_tokens_show_how_full_the_context_is(chat: Callable[..., Chat]) -> None:
    one = chat("first", context=4096)
    before = entered(one, "/tokens").split("\n")
    assert before[0].startswith("█░")
    assert before[1] == "117 of 4,096 tokens"
    entered(one, "the question")
    after = entered(one, "/context").split("\n")
    assert after[1] == f"{len(one.session.conversation.tokens)} of 4,096 tokens"
    assert after[0].startswith("█▒░")
    assert f"ctx {len(one.session.conversation.tokens)}/4096" in one.status()


def test_a_crowded_context_is_said(chat: Callable[..., Chat]) -> None:
    assert "the context is" in entered(chat("first", context=165), "the question")


def test_a_question_beyond_the_context_is_an_error_and_can_be_taken_back(chat: Callable[..., Chat]) -> None:
    one = chat("first", context=300)
    out = entered(one, "x" * 1000)
    assert "error: the conversation has" in out
    assert "max_tokens" not in out  # which would not help
    entered(one, "/undo")
    assert "first" in entered(one, "short")


def test_parameters_are_shown_and_changed(chat: Callable[..., Chat]) -> None:
    one = chat("unused")
    assert "temperature=0.6" in entered(one, "/params")
    out = " ".join(entered(one, "/params temperature=0 max_steps=3 seed=7").split())
    assert "temperature=0.0" in out
    assert one.session.agent.limits.max_steps == 3
    assert one.session.agent.sampling.seed == 7


@pytest.mark.parametrize(
    "wrong", ["temperature", "temprature=1", "temperature=hot", "top_p=2", "max_steps=0", "seed=1.5"]
)
def test_wrong_parameters_change_nothing(wrong: str, chat: Callable[..., Chat]) -> None:
    one = chat("unused")
    before = one.session.agent.sampling, one.session.agent.limits
    assert "error:" in entered(one, f"/params {wrong}")
    assert (one.session.agent.sampling, one.session.agent.limits) == before


def test_new_instructions_begin_a_new_conversation(chat: Callable[..., Chat]) -> None:
    one = chat("first", "second")
    entered(one, "question")
    assert "the conversation begins anew" in " ".join(entered(one, "/system Speak like a pirate.").split())
    entered(one, "question")
    assert one.session.conversation.messages[0].content == "Speak like a pirate."
    assert "Speak like a pirate." in entered(one, "/system")


def test_another_model_is_loaded_and_a_bad_one_changes_nothing(
    chat: Callable[..., Chat], tmp_path: Path
) -> None:
    one = chat("first")
    assert "answers.txt" in entered(one, "/model")
    assert "error: there is no model file" in entered(one, f"/model {tmp_path}/none.gguf")
    assert "first" in entered(one, "question")
    other = tmp_path / "other.txt"
    other.write_text("from the other")
    assert "other.txt" in entered(one, f"/model script:{other}")
    assert "from the other" in entered(one, "question")


def test_tools_can_be_named_only_if_they_are_there(chat: Callable[..., Chat]) -> None:
    one = chat("unused")
    assert "no tools" in entered(one, "/tools")
    assert "error: write /tools on NAME" in entered(one, "/tools off python")
    assert "error: the Python tool is off" in entered(one, "!1 + 1")


def test_the_last_call_needs_a_call(chat: Callable[..., Chat]) -> None:
    assert "no tool was called yet" in entered(chat("unused"), "/last")


def test_a_model_that_fails_is_an_error_line_and_the_chat_goes_on(chat: Callable[..., Chat]) -> None:
    one = chat("only one")
    entered(one, "question")
    assert "error: the script has 1 answers" in entered(one, "question")
    assert "/help" in entered(one, "/help")


def test_an_error_is_called_one_once(chat: Callable[..., Chat]) -> None:
    one = chat("unused")
    one.complain("Error: pay was not run: the call needs the user's approval")
    assert "error: pay was not run" in str(getattr(one.terminal.stream, "getvalue")())  # noqa: B009


def test_quit_leaves(chat: Callable[..., Chat]) -> None:
    assert chat("unused").take("/quit") is False


def test_an_attached_file_comes_with_the_next_question_only(
    chat: Callable[..., Chat], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("alpha")
    one = chat("first", "second")
    assert "nothing is attached" in entered(one, "/attach")
    assert "comes with the next" in entered(one, f"/attach {tmp_path / 'notes.txt'}")
    entered(one, "one")
    entered(one, "two")
    asked = [m.content for m in one.session.conversation.messages if m.role == "user"]
    assert asked == ["File notes.txt:\n```\nalpha\n```\n\none", "two"]
    assert "there is no file" in " ".join(entered(one, "/attach nowhere.txt").split())


def test_asking_again_reads_no_file_that_only_a_file_names(
    chat: Callable[..., Chat], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("the secret")
    (tmp_path / "notes.txt").write_text("see @secret.txt")
    one = chat("first", "second")
    entered(one, "what says @notes.txt?")
    before = one.session.conversation.messages[-2].content
    entered(one, "/retry")
    assert one.session.conversation.messages[-2].content == before
    assert "the secret" not in before


def test_the_last_answer_is_copied_through_the_terminal(chat: Callable[..., Chat]) -> None:
    one = chat("It is **42**.")
    assert "no answer to copy" in entered(one, "/copy")
    entered(one, "what is it?")
    assert "\x1b]52;c;SXQgaXMgKio0MioqLg==\a" in entered(one, "/copy")


def test_stats_add_up(chat: Callable[..., Chat]) -> None:
    one = chat("first", "second")
    entered(one, "one")
    after_one = one.usage
    entered(one, "two")
    assert one.usage.output_tokens > after_one.output_tokens
    assert f"{one.usage.output_tokens:,} written, 0 tool calls" in " ".join(entered(one, "/stats").split())


def test_a_question_is_written_in_the_editor(
    chat: Callable[..., Chat], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "and why?" >> "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    one = chat("Because.")
    entered(one, "/edit What is it")
    assert one.session.conversation.messages[-2].content == "What is it\nand why?"


def test_a_call_that_a_screen_stops_is_told_and_the_answer_follows(
    chat: Callable[..., Chat], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("preset = 'off'\n[tool_call.patterns]\naction = 'block'\n")
    call = '{"name": "send", "parameters": {"text": "AKIAABCDEFGH234567QR"}}<|eom_id|>'
    one = chat(call, "I may not.", safety=str(policy))

    @tool
    def send(text: str) -> str:
        """Send a text."""
        raise AssertionError("it was sent")

    one.session.tools["send"] = send
    one.session.renew()
    shown = " ".join(entered(one, "send it").split())
    assert "was blocked: patterns found something" in shown
    assert "send was not run; the model is told: Error: send was not run" in shown
    assert shown.endswith("I may not.")
    assert "1 of them objected" in " ".join(entered(one, "/safety").split())
