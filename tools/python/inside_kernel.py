"""The process that runs the model's code: an IPython kernel behind its own walls (runs inside)."""

import functools
import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

_ARGUMENTS = [
    "--quiet",
    "--HistoryManager.enabled=False",
    "--Session.digest_history_size=65536",
    "--InteractiveShell.cache_size=100",
    "--InteractiveShell.colors=NoColor",
    "--IPKernelApp.log_level=50",
]
_OF_A_CELL = re.compile(r"^<ipython-input-|[/\\]ipykernel_\d+[/\\]")


def run(connection_file: str, config: Mapping[str, Any], before_code: Callable[[], None]) -> None:
    """Serve one kernel until it ends; ``before_code`` is called once all sockets are bound."""
    for module in config["preload"]:
        try:
            __import__(module)
        except Exception:  # noqa: S112 - a broken optional library is the cell's to report
            continue
    from ipykernel import kernelapp

    if config["no_sockets"]:
        # Its TCP side pipe could not be opened once socket() is gone.
        kernelapp.IOPubThread = functools.partial(_without_pipe, kernelapp.IOPubThread)
    app = kernelapp.IPKernelApp.instance()
    app.initialize(["-f", connection_file, *_ARGUMENTS])
    os.chdir(config["work"])
    sys.path[:] = [path for path in sys.path if path]
    sys.path.insert(0, "")
    _send_any_text(app.session)
    _plain_tracebacks(app.shell)
    if config["no_sockets"]:
        app.shell.system = app.shell.system_piped = functools.partial(_run_in_shell, app.shell)
    before_code()
    app.start()


def _without_pipe(original: Callable[..., Any], socket: Any, pipe: bool = True, **others: Any) -> Any:
    return original(socket, pipe=False, **others)


def _run_in_shell(shell: Any, command: str) -> None:
    """What ``!command`` does, without the terminal that IPython would open for it and cannot have here."""
    options: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    line = ["/bin/sh", "-c", shell.var_expand(command, depth=1)]
    ended = subprocess.run(line, errors="replace", check=False, **options)  # noqa: S603
    sys.stdout.write(ended.stdout)
    shell.user_ns["_exit_code"] = ended.returncode


def _send_any_text(session: Any) -> None:
    """Let text with lone surrogates through, which ipykernel drops: escaped in JSON they harm nobody."""
    from jupyter_client.jsonutil import json_default

    usual = session.pack

    def pack(content: Any) -> bytes:
        try:
            return json.dumps(content, default=json_default, allow_nan=False).encode("ascii")
        except (TypeError, ValueError):
            return bytes(usual(content))

    session.pack = pack


def _plain_tracebacks(shell: Any) -> None:
    send = shell._showtraceback

    def show(kind: type[BaseException], error: BaseException, rendered: Sequence[str]) -> None:
        try:
            lines = format_error(error)
        except Exception:
            lines = list(rendered)
        send(kind, error, lines)

    shell._showtraceback = show


def format_error(error: BaseException) -> list[str]:
    """The traceback as Python prints it for code without source: no frames of IPython, no source lines."""
    report = traceback.TracebackException.from_exception(error, lookup_lines=False, max_group_width=5)
    seen: set[int] = set()
    _trim(report, error, seen)
    return "".join(report.format()).rstrip("\n").split("\n")


def _trim(report: traceback.TracebackException, error: BaseException | None, seen: set[int]) -> None:
    if id(report) in seen or len(seen) > 20:
        return
    seen.add(id(report))
    is_syntax = isinstance(error, SyntaxError)
    report.stack = traceback.StackSummary.from_list(
        _frames(error.__traceback__ if error else None, is_syntax)
    )
    if report.__cause__ is not None and error is not None:
        _trim(report.__cause__, error.__cause__, seen)
    if report.__context__ is not None and error is not None:
        _trim(report.__context__, error.__context__, seen)


def _frames(trace: TracebackType | None, is_syntax: bool) -> list[tuple[str, int, str, str]]:
    frames: list[tuple[str, int, str, str]] = []
    started = False
    while trace is not None:
        code = trace.tb_frame.f_code
        started = started or bool(_OF_A_CELL.search(code.co_filename))
        if started:
            name = "<module>" if code.co_name.startswith("<cell line") else code.co_name
            frames.append((code.co_filename, trace.tb_lineno or 0, name, ""))
        trace = trace.tb_next
    if is_syntax and len(frames) <= 1:
        return []
    return frames if len(frames) <= 24 else frames[:12] + frames[-12:]
