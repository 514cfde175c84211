"""One question, one answer: plain text on stdout, everything else on stderr."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from arriero.agent.events import RunFinished
from arriero.agent.files import fenced
from arriero.prompts import ArrieroError

from .approval import person_present
from .display import Display, JsonLines, PlainSink, StatusLine
from .exits import Exit, error_code, exit_code
from .runner import Runner
from .session import Session
from .settings import Settings
from .terminal import Terminal, neutral
from .told import untold


def with_input(question: str, text: str) -> str:
    """The question with what came from stdin before it, in a fence that the text cannot close."""
    if not text.strip():
        return question
    if not question.strip():
        return text
    return f"{fenced(text)}\n\n{question}"


def ask(settings: Settings, question: str) -> Exit:
    """Answer one question on stdout; returns the exit code. Errors are said in one line on stderr."""
    terminal = Terminal.detect(sys.stderr, plain=settings.plain)
    display: Display | JsonLines
    if settings.json:
        display = JsonLines(sys.stdout)
    else:
        display = Display(PlainSink(sys.stdout), terminal, quiet=settings.quiet)
    try:
        with opened(settings, terminal) as session:
            if not settings.quiet and not settings.json:
                for line in [*session.toolbox.notices, *untold(session.toolbox.hints)]:
                    display.notice(line)
            question, lines = session.with_files(question, settings.files)
            for line in lines:
                display.notice(line)
            return answer(session, question, display, settings)
    except ArrieroError as error:
        code = error_code(error)
        if settings.debug:
            raise
        if isinstance(display, JsonLines):
            display.fail(str(error))
        say_error(str(error))
        return code


@contextmanager
def opened(settings: Settings, terminal: Terminal) -> Iterator[Session]:
    """A session that is loaded, with progress on the terminal, and freed afterwards."""
    runner = Runner()
    session = Session(settings, runner)
    if person_present(terminal) and not settings.json:
        session.approver.terminal = terminal
    status = StatusLine(terminal, quiet=settings.quiet or settings.json)
    loaded = 0.0

    def on_progress(fraction: float) -> None:
        nonlocal loaded
        loaded = fraction

    def on_tick() -> None:
        status.show(session.toolbox.doing or f"loading {settings.model}  {loaded:.0%}")

    try:
        try:
            session.start(on_progress, on_tick)
        finally:
            status.clear()
        yield session
    finally:
        session.close()
        runner.close()


def say_error(message: str) -> None:
    """One line on stderr that says what went wrong."""
    sys.stderr.write(f"error: {neutral(message)}\n")
    sys.stderr.flush()


def answer(
    session: Session,
    question: str | None,
    display: Display | JsonLines,
    settings: Settings,
    decisions: Mapping[str, bool] | None = None,
) -> Exit:
    """Show the answer to a question, or without one of what is unfinished; the exit code says how it ended."""
    with closing(session.ask(question, decisions)) as events:
        for event in events:
            display.handle(event)
    finished = display.finished
    if finished is None:
        return Exit.FAILED
    if not settings.json:
        explain(finished, settings)
    return exit_code(finished)


def explain(finished: RunFinished, settings: Settings) -> None:
    """Say on stderr why an answer is not whole."""
    if finished.stop_reason == "final":
        return
    if finished.stop_reason == "cancelled":
        if not settings.quiet:
            sys.stderr.write("interrupted\n")
        return
    reason = finished.stop_reason.replace("_", " ")
    said = (finished.error or f"stopped: {reason}").removeprefix("Error: ")
    say_error(f"{said}; --approve PATTERN lets such calls run unasked" if reason == "approval" else said)
