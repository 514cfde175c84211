"""One question, one answer: plain text on stdout, everything else on stderr."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from arriero.agent.approval import Decided
from arriero.agent.events import RunFinished
from arriero.agent.files import fenced
from arriero.prompts import ArrieroError

from .approval import person_present
from .display import Display, JsonLines
from .errors import say_error, say_log
from .exits import Exit, error_code, exit_code
from .loading import Loading
from .runner import Runner
from .session import Session
from .settings import Settings
from .sinks import PlainSink
from .status_line import StatusLine
from .terminal import Terminal
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
    display = JsonLines(sys.stdout) if settings.json else plain_display(settings, terminal)
    try:
        with opened(settings, terminal) as session:
            if isinstance(display, Display):
                display.watch(session.progress)
            if not settings.quiet and not settings.json:
                for line in [*session.toolbox.notices, *untold(session.toolbox.hints)]:
                    display.notice(line)
            question, lines = session.with_files(question, settings.files)
            for line, much in lines:
                display.notice(line, "yellow" if much else "dim")
            return answer(session, question, display, settings)
    except ArrieroError as error:
        code = error_code(error)
        if settings.debug:
            raise
        if isinstance(display, JsonLines):
            display.fail(str(error))
        say_error(error)
        return code


def plain_display(settings: Settings, terminal: Terminal) -> Display:
    """The answer as plain text on stdout, what else there is to see on ``terminal``."""
    return Display(PlainSink(sys.stdout), terminal, quiet=settings.quiet, tools=settings.show_tools)


@contextmanager
def opened(settings: Settings, terminal: Terminal) -> Iterator[Session]:
    """A session that is loaded, with progress on the terminal, and freed afterwards."""
    runner = Runner()
    session = Session(settings, runner)
    if person_present(terminal) and not settings.json:
        session.approver.terminal = terminal
    status = StatusLine(terminal, quiet=settings.quiet or settings.json)
    loading = Loading(settings.model)
    try:
        try:
            session.start(loading.tell, lambda: status.show(session.toolbox.doing or loading.line))
        finally:
            status.clear()
        yield session
    finally:
        session.close()
        runner.close()


def answer(
    session: Session,
    question: str | None,
    display: Display | JsonLines,
    settings: Settings,
    decisions: Mapping[str, Decided] | None = None,
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
    say_log()
