"""The conversation in a real pseudo-terminal, with its screen."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from arriero.tools.python import Sandbox

PATIENCE = 30.0
PRODUCT = Path(__file__).parents[2] / "examples" / "tasks" / "product.yaml"
BOOT = 120.0  # seconds for a kernel to start, on a machine that is busy
Open = Callable[..., Any]

LONG = (
    "This answer goes **on** for some time, so that it has to be wrapped.\n\n- one\n- two\n\n"
    "```python\nprint(1)\n```\n\nEnd."
)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Writes a script of answers and returns the name of its model."""

    def write(*answers: str, pace: float = 0.0) -> str:
        path = tmp_path / "answers.txt"
        path.write_text(f"pace: {pace}\n" + "\n---\n".join(answers), encoding="utf-8")
        return f"script:{path}"

    return write


def lines_of(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def test_a_conversation_from_greeting_to_goodbye(
    window: Open, script: Callable[..., str], tmp_path: Path
) -> None:
    one = window("--no-tools", "-m", script(LONG, "Second."))
    text = one.prompt()
    assert re.search(r"arriero \d+\.\d+\.\d+ · answers.txt", text)
    assert "/help" in text

    one.enter("first question")
    text = one.prompt_after("End.")
    assert "This answer goes on for some time" in text
    assert " • one" in text
    assert "  print(1)" in text
    assert "**" not in text
    assert "```" not in text
    assert re.search(r"answers\.txt · ctx \d+/1000000 \(0%\) · \d+ tok/s · tools 0", lines_of(text)[-1])

    one.enter("/hlep")
    assert "did you mean /help?" in " ".join(one.prompt_after("no command is called /hlep").split())

    one.enter("/undo")
    one.prompt_after("took back: first question")
    one.enter("again")
    one.prompt_after("Second.")

    one.child.send("\x04")
    assert one.wait_end() == 0
    assert "first question" in (tmp_path / "home" / "history").read_text()


def test_ctrl_c_stops_an_answer_keeps_it_and_leaves_the_conversation_open(
    window: Open, script: Callable[..., str]
) -> None:
    words = " ".join(f"word{n}" for n in range(300))
    one = window("--no-tools", "-m", script(words, "After the interruption.", pace=0.03))
    one.prompt()
    one.enter("a question")
    one.wait_for("word9")
    one.child.send("\x03")
    text = one.prompt_after("interrupted; what was written stays")
    assert "word9" in text
    assert "word299" not in text
    one.enter("/tokens")
    one.prompt_after("free")
    one.enter("and now?")
    one.prompt_after("After the interruption.")


def test_escape_stops_an_answer_and_no_other_key_does(window: Open, script: Callable[..., str]) -> None:
    words = " ".join(f"word{n}" for n in range(400))
    one = window("--no-tools", "-m", script(words, "After it.", pace=0.03))
    one.prompt()
    one.enter("a question")
    one.wait_for("word3")
    one.child.send("\x1b[A")  # an arrow
    one.child.send("\x1b\r")  # Alt-Enter
    one.child.send("kept")
    one.wait_for("word30")
    one.child.send("\x1b")
    one.wait_for("interrupted; what was written stays")
    text = one.wait_for(lambda text: lines_of(text)[-2].strip() == "kept")
    assert "word399" not in text
    one.child.send("\r")
    assert "After it." in one.prompt_after("After it.")


def test_escape_at_the_prompt_stays_the_beginning_of_other_keys(
    window: Open, script: Callable[..., str]
) -> None:
    one = window("--no-tools", "-m", script("Got it."))
    one.prompt()
    one.child.send("one\x1b\rtwo")
    one.wait_for("  two")
    one.child.send("\x1b")
    one.child.send("b\x1b[Dx\r")  # word left, left, x
    text = one.prompt_after("Got it.")
    assert "› one\n" in text
    one.enter("/quit")
    assert one.wait_end() == 0


def test_a_paste_during_an_answer_is_one_entry_and_sends_nothing(
    window: Open, script: Callable[..., str]
) -> None:
    words = " ".join(f"word{n}" for n in range(60))
    one = window("--no-tools", "-m", script(words, "To the paste.", pace=0.03))
    one.prompt()
    one.enter("first")
    one.wait_for("word3")
    assert b"\x1b[?2004h" in one.raw.rpartition(b"first")[2]
    one.child.send("\x1b[200~line one\nline \x1b two\n\x1b[201~")
    text = one.wait_for(lambda text: "word59" in text and "  line" in text)
    assert "To the paste." not in text
    one.child.send("\r")
    one.prompt_after("To the paste.")


def test_three_quotes_hold_several_lines(window: Open, script: Callable[..., str], tmp_path: Path) -> None:
    one = window("--no-tools", "-m", script("Got it.", "And this."))
    one.prompt()
    one.enter('"""first line')
    one.enter("/quit")
    one.wait_for("  /quit")
    one.enter('"""')
    one.prompt_after("Got it.")
    one.enter('"""one line"""')
    one.prompt_after("And this.")
    one.enter(f"/export md {tmp_path / 'talk.md'}")
    one.enter("/quit")
    assert one.wait_end() == 0
    said = (tmp_path / "talk.md").read_text()
    assert "## User\n\nfirst line\n/quit\n" in said
    assert "## User\n\none line\n" in said


def test_how_far_a_prompt_is_read_is_told_meanwhile(window: Open, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("What is 23 * 47? " * 190)
    one = window("--no-tools", "--max-tokens", "5", "-f", str(notes), "sum up", columns=60)
    text = one.wait_for(
        lambda text: re.search(r"reading prompt \d+/\d{4} tok  \d\.\ds", text) is not None, BOOT
    )
    read, whole = map(int, re.findall(r"reading prompt (\d+)/(\d+)", text)[-1])
    assert 0 <= read < whole
    one.wait_end()
    assert "reading prompt" not in one.text
    seen = {int(read) for read in re.findall(rb"reading prompt (\d+)/", one.raw)}
    assert len(seen) > 2


def test_how_much_of_tool_calls_is_shown(window: Open, script: Callable[..., str]) -> None:
    one = window("--no-tools", "--show-tools", "line", "-m", script("unused"), columns=30)
    one.prompt()
    one.enter("/show-tools")
    one.prompt_after("of tool calls is shown: a line each")
    one.enter("/show-tools most")
    one.prompt_after("write /show-tools with one of full, line, off")
    one.enter("/show off")
    one.prompt_after("of tool calls is shown: nothing")


def test_ctrl_c_at_the_prompt_clears_then_hints_then_leaves(window: Open, script: Callable[..., str]) -> None:
    one = window("--no-tools", "-m", script("unused"))
    one.prompt()
    one.child.send("half a question")
    one.wait_for("half a question")
    one.child.send("\x03")
    one.wait_for(lambda text: "half a question" not in text)
    one.child.send("\x03")
    one.prompt_after("once more")
    one.child.send("\x03")
    assert one.wait_end() == 0


def test_what_is_typed_during_an_answer_is_the_next_entry(window: Open, script: Callable[..., str]) -> None:
    words = " ".join(f"word{n}" for n in range(40))
    one = window("--no-tools", "-m", script(words, "To the second.", pace=0.02))
    one.prompt()
    one.enter("first")
    one.wait_for("word3")
    one.enter("typed ahead")
    text = one.prompt_after("To the second.")
    assert " ".join(text.split()).index("word39") < " ".join(text.split()).index("typed ahead")


def test_a_paste_of_several_lines_stays_one_entry(window: Open, script: Callable[..., str]) -> None:
    one = window("--no-tools", "-m", script("Got it."))
    one.prompt()
    one.child.send("\x1b[200~line one\nline two\nline three\x1b[201~")
    text = one.wait_for("line three")
    assert "Got it." not in text
    assert "  line two" in text
    one.child.send("\r")
    one.prompt_after("Got it.")


def test_what_a_model_writes_cannot_steer_the_terminal(window: Open, script: Callable[..., str]) -> None:
    one = window("--no-tools", "-m", script("before \x1b]0;owned\x07\x1b[2J\x1b[31mafter"))
    one.prompt()
    one.enter("a question")
    one.prompt_after("before after")
    assert b"owned" not in one.raw
    assert one.screen.title != "owned"


@pytest.mark.parametrize("columns", [24, 40])
def test_a_narrow_window_loses_nothing(columns: int, window: Open, script: Callable[..., str]) -> None:
    one = window("--no-tools", "-m", script(LONG), columns=columns)
    one.prompt()
    one.enter("go")
    text = one.prompt_after("End.")
    assert "This answer goes on for some time, so that it has to be wrapped." in " ".join(text.split())
    one.enter("/help")
    text = one.prompt_after("Ctrl-C stops an answer")
    assert "/export FORM [FILE]" in " ".join(text.split())
    one.enter("/context")
    one.prompt_after("free")
    one.enter("/sessions")
    text = one.prompt_after("› ")
    assert all(len(line) <= columns for line in text.split("\n"))


def test_in_tmux_over_a_small_pane(environment: dict[str, str], script: Callable[..., str]) -> None:
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("tmux is not installed")
    model = script(LONG)
    server = [tmux, "-L", f"arriero-{os.getpid()}", "-f", "/dev/null"]

    def screen(expected: str) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            text = subprocess.run([*server, "capture-pane", "-p"], capture_output=True, text=True).stdout
            if expected in " ".join(text.split()):
                return text
            time.sleep(0.1)
        pytest.fail(f"waited in vain for {expected!r}:\n{text}")

    command = shlex.join([sys.executable, "-m", "arriero", "--no-tools", "-m", model])
    try:
        subprocess.run(
            [*server, "new-session", "-d", "-x", "50", "-y", "30", command], env=environment, check=True
        )
        screen("/help shows")
        subprocess.run([*server, "send-keys", "go", "Enter"], check=True)
        text = screen("End.")
        assert " • one" in text
        assert "**" not in text
        subprocess.run([*server, "resize-window", "-x", "30", "-y", "30"], check=True)
        subprocess.run([*server, "send-keys", "/context", "Enter"], check=True)
        assert "free" in screen("tokens █ instructions")
    finally:
        subprocess.run([*server, "kill-server"], check=False, stderr=subprocess.DEVNULL)


def test_without_colour_nothing_is_coloured(window: Open, script: Callable[..., str]) -> None:
    one = window("--no-tools", "-m", script(LONG), NO_COLOR="1")
    one.prompt()
    one.enter("go")
    one.prompt_after("End.")
    assert not re.findall(rb"\x1b\[[0-9;]*(?:3[0-7]|9[0-7]|4[0-7]|38|48)[0-9;]*m", one.raw)


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ([], {"TERM": "dumb"}),
        (["--plain"], {}),
        ([], {"PYTHONIOENCODING": "ascii"}),
        ([], {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1"}),
    ],
    ids=["dumb", "plain", "ascii", "C"],
)
def test_where_markdown_cannot_be_drawn_its_source_is_shown(
    options: list[str], environment: dict[str, str], window: Open, script: Callable[..., str]
) -> None:
    one = window("--no-tools", *options, "-m", script("**Bold** and - dash… 漢", "More."), **environment)
    one.wait_for("/help shows")
    one.wait_for(lambda text: lines_of(text)[-1].startswith((">", "›")) or "ctx" in lines_of(text)[-1])
    one.enter("go")
    one.wait_for("**Bold** and - dash")
    one.enter("/context")
    one.wait_for("free")
    one.enter("/quit")
    assert one.wait_end() == 0
    if one.raw.isascii():
        assert "dash... ?" in one.text
        assert "\nisf" not in one.text
        assert "i instructions" in one.text
    else:
        assert "PYTHONIOENCODING" not in environment
        assert "dash… 漢" in " ".join(one.text.split())
    assert "go on with this conversation: arriero --session " in one.text


@pytest.mark.parametrize("arguments", [["--no-tools", "-m", "/nowhere.gguf"]])
def test_a_model_that_cannot_be_loaded_ends_with_one_line(arguments: list[str], window: Open) -> None:
    one = window(*arguments)
    assert one.wait_end() == 6
    assert "error: there is no model file /nowhere.gguf" in one.text
    assert "Traceback" not in one.text


@pytest.mark.skipif(Sandbox.probe().level is None, reason="no level of the sandbox works here")
def test_python_in_a_conversation(window: Open, script: Callable[..., str], tmp_path: Path) -> None:
    plot = "<|python_tag|>import matplotlib.pyplot as plt\nx = 23 * 47\nplt.plot([1, 2])\nprint(x)<|eom_id|>"
    count = "<|python_tag|>for i in range(40): print('line', i)<|eom_id|>"
    sleep = "<|python_tag|>import time\ntime.sleep(600)<|eom_id|>"
    one = window("-m", script(plot, "It is **1081**.", count, "Counted.", sleep))
    one.prompt_after("Python runs in a sandbox")

    one.enter("what is 23 * 47?")
    text = one.prompt_after("It is 1081.", BOOT)
    assert re.search(r"╭─ python · \d+\.\d s ─", text)
    assert "│ x = 23 * 47" in text
    assert "│ 1081" in text
    (figure,) = (tmp_path / "home" / "runs").glob("*/fig-1.png")
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "saved" in text

    one.enter("!x + 1")
    one.prompt_after("1082", BOOT)

    one.enter("count")
    assert "+28 lines, /last shows all" in one.prompt_after("Counted.", BOOT)
    one.enter("/last")
    one.prompt_after("line 39")

    one.enter("sleep")
    one.wait_for("● python", BOOT)
    one.child.send("\x03")
    one.prompt_after("interrupted; what was written stays", BOOT)

    one.enter("/tools off python")
    one.prompt_after("python is off; the conversation begins anew")
    one.enter("/quit")
    assert one.wait_end() == 0


@pytest.mark.skipif(
    not (resources.files("arriero.agent.models") / "bundled.gguf").is_file(),
    reason="the bundled model is not there",
)
@pytest.mark.skipif(Sandbox.probe().level is None, reason="no level of the sandbox works here")
def test_the_bundled_model_in_a_conversation(window: Open) -> None:
    one = window()
    text = " ".join(one.prompt_after("demonstration", BOOT).split())
    assert "arriero -m llama-3.1-8b-instruct.gguf" in text
    one.enter("What is 23 * 47?")
    text = one.prompt_after("1081", BOOT)
    assert "╭─ python" in text
    one.enter("What is 6 * 7?")
    one.prompt_after("42", BOOT)
    one.enter(f"/run {PRODUCT} first=12 second=12")
    text = one.prompt_after("product: ok", BOOT)
    assert "multiply: ok, 1 calls" in text
    assert "144" in text
    one.enter("/quit")
    assert one.wait_end() == 0


@pytest.mark.skipif(Sandbox.probe().level is None, reason="no level of the sandbox works here")
def test_code_is_edited_before_it_runs(window: Open, script: Callable[..., str]) -> None:
    one = window("--ask", "python", "-m", script("<|python_tag|>print(1)\nx = 7<|eom_id|>", "Done."))
    one.prompt_after("Python runs in a sandbox")
    one.enter("go")
    one.wait_for("may python run?")
    one.wait_for(lambda text: lines_of(text)[-1].strip() == "›")
    one.enter("e")
    one.wait_for("Enter takes it")
    one.child.send("\x1b\rprint(x * 6)\r")
    text = one.prompt_after("Done.", BOOT)
    assert "python · as you changed it" in text
    assert "│ 42" in text
    one.enter("!x")
    one.prompt_after("7", BOOT)


@pytest.mark.skipif(Sandbox.probe().level is None, reason="no level of the sandbox works here")
def test_escape_stops_what_runs_and_variables_stay(window: Open, script: Callable[..., str]) -> None:
    sleep = "<|python_tag|>import time\nx = 5\nprint('ready', flush=True)\ntime.sleep(600)<|eom_id|>"
    one = window("-m", script(sleep))
    one.prompt_after("Python runs in a sandbox")
    one.enter("sleep")
    one.wait_for(lambda text: re.search(r"● python  \d+\.\ds  ready", text) is not None, BOOT)
    one.child.send("\x1b")
    one.prompt_after("interrupted; what was written stays", BOOT)
    one.enter("!print(x, flush=True); time.sleep(600)")
    one.wait_for(lambda text: re.search(r"● python  \d+\.\ds  5", text) is not None, BOOT)
    one.child.send("\x1b")
    one.wait_for(lambda text: text.rstrip().count("interrupted") == 2 and "ctx" in lines_of(text)[-1])
    one.enter("!x + 1")
    one.prompt_after("6", BOOT)
