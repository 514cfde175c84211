import io
import json
from typing import Any

import pytest

from arriero.agent import events as ev
from arriero.agent.cli.display import Display, JsonLines
from arriero.agent.cli.panels import call_text, cut, result_text, short_name
from arriero.agent.cli.sinks import PlainSink
from arriero.agent.cli.status_line import StatusLine
from arriero.agent.cli.terminal import Terminal
from arriero.agent.events import EventAdapter

OUTPUT = "completed\n[stdout]\n1081\n[/stdout]"


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def event(kind: type[Any], **values: Any) -> Any:
    return kind(run_id="r1", seq=1, **values)


def call_events(
    content: str = OUTPUT, *, code: str = "print(23 * 47)", ok: bool = True, artifacts: Any = ()
) -> list[Any]:
    return [
        event(ev.ToolCallDelta, index=0, text=code),
        event(ev.ToolCallStarted, call_id="c1", name="code_interpreter", arguments={"code": code}),
        event(
            ev.ToolCallFinished,
            call_id="c1",
            name="code_interpreter",
            ok=ok,
            content=content,
            seconds=1.25,
            artifacts=artifacts,
        ),
    ]


def show(
    events: list[Any],
    *,
    terminal: bool = False,
    unicode: bool = True,
    colour: bool = False,
    quiet: bool = False,
    tools: Any = "full",
) -> tuple[str, str, Display]:
    out, err = io.StringIO(), Screen() if terminal else io.StringIO()
    shown_on = Terminal(err, terminal, colour, unicode)
    display = Display(PlainSink(out), shown_on, quiet=quiet, tools=tools, hint=", /last")
    display.waiting.patience = 0.0
    for one in events:
        display.handle(one)
    return out.getvalue(), err.getvalue(), display


def finished(reason: Any = "final", error: str | None = None) -> Any:
    return event(ev.RunFinished, stop_reason=reason, output="x", error=error, usage=ev.Usage())


def test_the_answer_goes_to_one_stream_and_all_else_to_the_other() -> None:
    out, err, display = show([*call_events(), event(ev.TextDelta, text="It is 1081."), finished()])
    assert out == "It is 1081.\n"
    assert err == "python> print(23 * 47)\n  1081\n"
    assert display.finished is not None
    assert [pair[1].call_id for pair in display.calls] == ["c1"]


def test_text_before_a_call_ends_its_line() -> None:
    out, _, _ = show(
        [event(ev.TextDelta, text="Let me see."), *call_events(), event(ev.TextDelta, text="Done.\n")]
    )
    assert out == "Let me see.\nDone.\n"


def test_a_terminal_gets_a_box_with_code_result_and_time() -> None:
    _, err, _ = show(call_events(), terminal=True)
    lines = err.split("\n")
    assert lines[0].startswith("╭─ python · 1.2 s ─")
    assert "│ print(23 * 47)" in err
    assert "│ 1081" in err
    assert "\x1b[3" not in err


def test_without_unicode_the_box_is_ascii() -> None:
    _, err, _ = show(call_events(), terminal=True, unicode=False)
    assert err.isascii()
    assert "| print(23 * 47)" in err


def test_colour_is_used_where_there_is_any() -> None:
    _, err, _ = show(call_events(), terminal=True, colour=True)
    assert "\x1b[" in err


def test_quiet_shows_only_the_answer() -> None:
    out, err, _ = show(
        [*call_events(), event(ev.ModelRetried, reason="odd"), event(ev.TextDelta, text="a"), finished()],
        quiet=True,
    )
    assert (out, err) == ("a\n", "")


def test_long_results_are_cut_and_say_so() -> None:
    lines = "\n".join(map(str, range(100)))
    _, err, _ = show(call_events(f"completed\n[stdout]\n{lines}\n[/stdout]"))
    assert "  11\n  +88 lines, /last\n" in err
    assert "  12\n" not in err
    assert cut("a\nb\nc", 2) == ("a\nb\nc", 0)
    assert cut("a\nb\nc\nd", 2) == ("a\nb", 2)


def test_a_failed_call_is_marked() -> None:
    _, err, _ = show(call_events("Error when running tool: boom", ok=False), terminal=True)
    assert "python · failed, 1.2 s" in err
    assert "boom" in err


def test_nothing_of_tools_or_model_steers_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\u202e"
    out, err, _ = show(
        [
            *call_events(f"completed\n[stdout]\n{evil}ok[/stdout]", code=f"print('{evil}')"),
            event(ev.TextDelta, text=f"{evil}answer"),
            event(ev.ModelRetried, reason=f"{evil}reason"),
            finished(),
        ]
    )
    assert not set(out + err) & {"\x1b", "\x07", "\u202e"}
    assert out == "answer\n"


def test_markup_in_untrusted_text_stays_text() -> None:
    _, err, _ = show(call_events("completed\n[stdout]\n[red]x[/red] :smile:\n[/stdout]"))
    assert "[red]x[/red] :smile:" in err


def test_artifacts_are_saved_and_named() -> None:
    image = ev.ArtifactRef(name="fig-1.png", mime="image/png", data=b"png")
    _, err, _ = show(call_events(artifacts=(image,)))
    assert "saved " in err
    assert err.rstrip().replace("\n", "").endswith("runs/r1/fig-1.png")


def test_artifacts_that_cannot_be_saved_are_a_notice(tmp_path: Any) -> None:
    (tmp_path / "home").write_text("in the way")
    image = ev.ArtifactRef(name="fig-1.png", mime="image/png", data=b"png")
    _, err, _ = show(call_events(artifacts=(image,)))
    assert "could not be saved" in err


def test_waiting_is_shown_on_a_terminal_only() -> None:
    step = event(ev.StepStarted, step=1, context_tokens=900, new_tokens=900, context_length=4096)
    _, err, _ = show([step, None, event(ev.StepFinished, step=1, end="eot", usage=ev.Usage())], terminal=True)
    assert "reading 900 tokens" in err
    assert err.endswith("\r\x1b[2K")
    assert show([step, None])[1] == ""


def test_a_long_prompt_is_said_to_take_as_long_as_those_before() -> None:
    first = event(ev.StepStarted, step=1, context_tokens=900, new_tokens=900, context_length=4096)
    took = ev.Usage(prompt_tokens=900, output_tokens=5, seconds=10.0, decode_seconds=1.0)
    second = event(ev.StepStarted, step=2, context_tokens=2500, new_tokens=1600, context_length=4096)
    _, err, display = show(
        [first, event(ev.StepFinished, step=1, end="eot", usage=took), second, None], terminal=True
    )
    assert display.waiting.reading_speed == 100.0
    assert "reading 1,600 tokens  0.0s of about 16s" in err


def test_a_running_tool_shows_its_latest_line() -> None:
    _, start, _ = call_events()
    output = event(ev.ToolOutputDelta, call_id="c1", stream="stdout", text="epoch 1\nepoch 2\x1b[0m\n")
    _, err, _ = show([start, None, output, None], terminal=True)
    assert "● python  0.0s  (Ctrl-C stops it)" in err
    assert "● python  0.0s  epoch 2" in err


def test_a_call_that_the_user_changed_is_shown_as_it_ran() -> None:
    delta, start, _ = call_events()
    changed = event(ev.ToolCallEdited, call_id="c1", name="code_interpreter", arguments={"code": "print(6)"})
    note = 'Note: the user changed the arguments of this call to code_interpreter(code="print(6)").\n\n'
    end = call_events(f"{note}completed\n[stdout]\n6\n[/stdout]")[-1]
    _, err, display = show([delta, start, changed, end], terminal=True)
    assert "╭─ python · as you changed it, 1.2 s ─" in err
    assert "│ print(6)" in err
    assert "print(23 * 47)" not in err
    assert "Note:" not in err
    assert display.calls[0][0].arguments == {"code": "print(6)"}


@pytest.mark.parametrize("terminal", [False, True])
def test_of_a_call_a_line_is_shown(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    long = call_events(code="print(1)\n" * 30, content="completed\n[stdout]\n" + "1\n" * 30 + "[/stdout]")
    failed = call_events("Error when running tool: boom", ok=False)
    _, err, display = show([*call_events(), *long, *failed], terminal=terminal, tools="line")
    lines = [line for line in err.replace("\r\x1b[2K", "").split("\n") if line]
    assert lines[0] == "● python print(23 * 47) → 1081 · 1.2 s"
    assert lines[1].startswith("● python print(1) print(1)")
    assert "→ 1 1 1" in lines[1]
    assert lines[2].endswith("· failed, 1.2 s")
    assert all(len(line) <= 60 for line in lines)
    assert len(display.calls) == 3


def test_a_line_without_unicode_and_one_in_a_very_narrow_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    _, err, _ = show(call_events(), terminal=True, unicode=False, tools="line")
    assert err.isascii()
    assert all(len(line) <= 24 for line in err.replace("\r\x1b[2K", "").split("\n"))


def test_nothing_of_calls_is_shown_but_what_screens_say_and_where_files_are() -> None:
    blocked = event(ev.GuardrailChecked, place="code", screen="patterns", action="block", call_id="c2")
    image = ev.ArtifactRef(name="fig-1.png", mime="image/png", data=b"png")
    out, err, display = show(
        [*call_events(artifacts=(image,)), blocked, event(ev.TextDelta, text="a")], tools="off"
    )
    assert out == "a"
    assert "print" not in err
    assert "1081" not in err
    assert "saved " in err
    assert "was blocked" in err
    assert len(display.calls) == 1


def test_a_call_that_a_screen_has_stopped_ends_without_having_begun() -> None:
    blocked = event(ev.GuardrailChecked, place="code", screen="patterns", action="block", call_id="c1")
    ended = call_events("Error: a safety check does not allow it.", ok=False)[-1]
    _, err, display = show([blocked, ended, finished()])
    assert "The code c1 was blocked" in err
    assert "python was not run; the model is told: Error: a safety check does not allow it." in err
    assert display.calls == []


def test_screens_that_object_and_a_context_that_shrank_are_said() -> None:
    allowed = event(ev.GuardrailChecked, place="input", screen="guard", action="allow")
    blocked = event(ev.GuardrailChecked, place="input", screen="guard", action="block", reason="S1")
    compacted = event(ev.ContextCompacted, removed="2 results", tokens_before=9, tokens_after=5)
    _, err, _ = show([allowed, blocked, compacted])
    assert (
        err
        == "What the user wrote was blocked: guard found something: S1\ntaken out of the context: 2 results\n"
    )


def test_a_status_line_never_wraps(screen: Any) -> None:
    status = StatusLine(Terminal(screen, True, False, True))
    status.show("x" * 500)
    assert screen.getvalue() == "\r\x1b[2K" + "x" * 59
    status.show("x" * 500)
    status.clear()
    status.clear()
    assert screen.getvalue().count("\x1b[2K") == 2


def test_names_and_arguments_are_shown_as_people_write_them() -> None:
    assert short_name("brave_search") == "search"
    assert short_name("my\ntool\x1b[0m") == "my tool"
    assert call_text("brave_search", {"query": "llamas"}) == "llamas"
    assert (
        call_text("book", {"city": "Rome", "nights": 2, "meals": ["b"]})
        == 'city: Rome\nnights: 2\nmeals: ["b"]'
    )
    assert result_text("other", "completed\n[stdout]") == "completed\n[stdout]"
    assert result_text("code_interpreter", "completed") == ""
    both = "completed\n[stdout]\nout\n[/stdout]\n[stderr]\nValueError: x\n[/stderr]"
    assert result_text("code_interpreter", both) == "out\nValueError: x"
    assert result_text("code_interpreter", "timeout\n[stdout]\n1\n[/stdout]") == "timeout\n1"


def test_json_lines_are_events_that_can_be_read_back() -> None:
    out = io.StringIO()
    lines = JsonLines(out)
    image = ev.ArtifactRef(name="f.png", mime="image/png", data=b"\x00\xff")
    events = [*call_events("ünï \x1b[0m \u202e", artifacts=(image,)), finished()]
    for one in [*events, None]:
        lines.handle(one)
    written = out.getvalue().splitlines()
    assert [EventAdapter.validate_json(line) for line in written] == events
    assert {json.loads(line)["v"] for line in written} == {1}
    assert out.getvalue().isascii()
    assert lines.finished == events[-1]


def test_a_run_that_cannot_start_still_has_an_ending_in_json() -> None:
    out = io.StringIO()
    JsonLines(out).fail("no model")
    ending = json.loads(out.getvalue())
    assert (ending["type"], ending["stop_reason"], ending["error"]) == ("run_finished", "error", "no model")
